"""Fates: near-duplicates, wishes of sites, quality and splits, decided from numbers alone as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ulmfit_dist.crawl.decisions import AS_READ, DUPLICATE, KEY_TWICE
from ulmfit_dist.crawl.fates import (
    FIRST_RULE,
    NEAR_DUPLICATE,
    REASONS,
    find_clusters,
    language_counts,
    read_fates,
    save_fates,
    settle,
)
from ulmfit_dist.crawl.piecefiles import COMPARED, FACTS, HAS_WORDS, KEPT, LATER, NOAI, NOINDEX, ROWS, piece_path
from ulmfit_dist.crawl.quality import MEASURES
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.crawl.splits import split_at

ALL = HAS_WORDS | KEPT | COMPARED


def save(folder, pieces):
    """Cleaned pieces of documents {id, characters, state, place, words, lang}."""
    for number, documents in enumerate(pieces):
        rows, facts = np.zeros(len(documents), ROWS), np.zeros(len(documents), FACTS)
        facts["measures"] = np.nan
        for place, one in enumerate(documents):
            identity = np.frombuffer(bytes([one.get("id", place)]) + bytes(15), "<u8")
            rows[place] = (identity, (0, 0), one.get("characters", 9), LATER, one.get("state", ALL))
            facts["place"][place], facts["lang"][place] = one.get("place", 0), one.get("lang", "en").encode()
            facts["measures"][place, MEASURES.index("words")] = one.get("words", 100)
        rows.tofile(piece_path(folder, number, "-clean.rows"))
        facts.tofile(piece_path(folder, number, "-clean.facts"))


def decide(folder, decided, labels, **crawl):
    shares = {"train": 0.5, "valid": 0.5}
    ingest = IngestSettings(sources=["a"], splits=shares, crawl=crawl)
    arrays = [np.array(some, np.uint8) for some in decided]
    clusters = find_clusters(folder, arrays, np.array(labels, np.uint32))
    return settle(folder, arrays, clusters, ingest, ["train", "valid"]), clusters


document = st.fixed_dictionaries(
    {"id": st.integers(0, 255), "characters": st.integers(1, 3), "place": st.integers(0, 2**64 - 1)}
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), sizes=st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_the_longest_of_a_cluster_stays_and_all_of_it_lies_in_its_split(tmp_path, data, sizes):
    pieces = [data.draw(st.lists(document, min_size=size, max_size=size)) for size in sizes]
    fate = st.sampled_from([AS_READ, AS_READ, DUPLICATE, KEY_TWICE])
    decided = [data.draw(st.lists(fate, min_size=size, max_size=size)) for size in sizes]
    total = sum(sizes)
    labels = [data.draw(st.integers(0, number)) for number in range(total)]
    labels = [labels[labels[number]] for number in range(total)]
    labels = [label if labels[label] == label else number for number, label in enumerate(labels)]
    save(tmp_path, pieces)
    found, clusters = decide(tmp_path, decided, labels)
    places = [(piece, row) for piece, size in enumerate(sizes) for row in range(size)]
    flat = [(pieces[p][r], decided[p][r], label, (p, r)) for (p, r), label in zip(places, labels, strict=True)]
    for one, fate, label, (piece, row) in flat:
        mates = [other for other in flat if other[2] == label and other[1] != KEY_TWICE]
        free = [other for other in mates if other[1] == AS_READ] or mates
        result = found[piece][row]
        listed = clusters.members[piece][clusters.members[piece]["row"] == row]
        if fate == KEY_TWICE or len(mates) == 1:
            assert result["fate"] == fate
            assert len(listed) == 0
            continue
        best = min(free, key=lambda other: (-other[0]["characters"], other[0]["id"]))
        kept = (best[0]["characters"], best[0]["id"]) == (one["characters"], one["id"])
        assert result["fate"] in ((fate, NEAR_DUPLICATE) if kept else (fate if fate != AS_READ else NEAR_DUPLICATE,))
        assert listed["size"].tolist() == [len(mates)]
        assert listed["id"][0].tobytes()[0] == best[0]["id"]
        if len({other[0]["id"] for other in mates}) == len(mates):
            assert result["split"] == ["train", "valid"].index(split_at(best[0]["place"], {"train": 0.5, "valid": 0.5}))
    for label in set(labels):
        left = [found[p][r]["fate"] for o, f, own, (p, r) in flat if own == label and f == AS_READ]
        assert left.count(AS_READ) == (1 if left else 0)


def test_rules_and_wishes_in_order(tmp_path):
    pages = [{"words": 10}, {"state": ALL | NOAI, "words": 10}, {"state": ALL | NOINDEX}, {"state": 0, "words": 1}, {}]
    save(tmp_path, [pages])
    few = REASONS[FIRST_RULE]
    assert few == "min_words"
    cases = [
        ({}, [few, few, "", "", ""]),
        ({"robots": "noai"}, [few, "noai", "", "", ""]),
        ({"robots": "noindex"}, [few, "noai", "noindex", "", ""]),
        ({"quality": False}, [""] * 5),
        ({"thresholds": {"en": {"min_words": 5}}}, [""] * 5),
    ]
    for crawl, expected in cases:
        ((fates,), _) = decide(tmp_path, [[AS_READ] * 5], [0, 1, 2, 3], **crawl)
        assert [REASONS[number] for number in fates["fate"]] == expected
    ((fates,), clusters) = decide(tmp_path, [[AS_READ] * 5], [0, 1, 2, 3])
    assert language_counts(tmp_path, [fates]) == {"en": {"": 2, "min_words": 2}}
    save_fates(tmp_path, 0, fates, clusters.members[0])
    again, members = read_fates(tmp_path, 0)
    assert (again == fates).all()
    assert len(members) == 0


@pytest.mark.parametrize("place", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_document_alone_lies_where_its_site_does(tmp_path, place):
    save(tmp_path, [[{"place": place}]])
    ((fates,), _) = decide(tmp_path, [[AS_READ]], [0])
    assert ["train", "valid"][fates["split"][0]] == split_at(place, {"train": 0.5, "valid": 0.5})
