"""Near-duplicates: the clusters are those of the graph of all pairs, however the keys lie in files and buckets."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit_dist.crawl import neardup as neardup_module
from ulmfit_dist.crawl.minhash import shingles, signature, units_of
from ulmfit_dist.crawl.neardup import BandItem, band_items, join, make_pair_writer, pairs_path, save_bands

WORDS = [f"w{n}" for n in range(2000)]


def clusters(tmp_path, texts, sizes, similarity=0.7):
    """The label of each text, the texts in files of these sizes."""
    paths, start = [], 0
    for number, size in enumerate(sizes):
        paths.append(tmp_path / f"{number}.bands")
        some = [signature(shingles(units_of(text))) for text in texts[start : start + size]]
        save_bands(paths[-1], some, [1] * len(some))
        start += size
    write = make_pair_writer(paths, tmp_path / "pairs", similarity)
    items = band_items(paths)
    for item in items:
        write(item)
    return join(len(texts), [pairs_path(tmp_path / "pairs", item) for item in items]).tolist()


@pytest.fixture
def planted():
    """(texts, the number of the text that each is a near-duplicate of)."""
    rng = random.Random(5)
    texts, origins = [], []
    for number in range(60):
        words = rng.choices(WORDS, k=300)
        for _ in range(rng.choice([1, 1, 2, 4])):
            changed = list(words)
            changed[rng.randrange(300)] = "changed"
            texts.append(" ".join(changed))
            origins.append(number)
    order = list(range(len(texts)))
    rng.shuffle(order)
    return [texts[place] for place in order], [origins[place] for place in order]


@pytest.mark.parametrize("bucket_keys", [1 << 23, 7])
def test_planted_near_duplicates_are_one_cluster_each(tmp_path, planted, monkeypatch, bucket_keys):
    monkeypatch.setattr(neardup_module, "BUCKET_KEYS", bucket_keys)
    texts, origins = planted
    labels = clusters(tmp_path, texts, [40, 0, len(texts) - 40])
    first = {origin: origins.index(origin) for origin in origins}
    assert labels == [first[origin] for origin in origins]


def test_what_meets_in_a_band_but_is_not_alike_is_apart(tmp_path):
    rng = random.Random(2)
    words = rng.choices(WORDS, k=300)
    texts = [" ".join(words)]
    for _ in range(200):
        other = [rng.choice(WORDS) if rng.random() < 0.12 else word for word in words]
        texts.append(" ".join(other))
    apart = clusters(tmp_path, texts, [len(texts)], similarity=0.7)
    assert apart[1:] == list(range(1, len(texts)))
    # Without the comparison, bands alone join some: about one pair in twelve of these meets.
    assert clusters(tmp_path / "loose", texts, [len(texts)], similarity=0.0) != apart


def test_groups_are_never_joined(tmp_path):
    same = signature(shingles(units_of("the very same text in two languages")))
    save_bands(tmp_path / "a", [same, same, same], [1, 2, 1])
    write = make_pair_writer([tmp_path / "a"], tmp_path, 0.7)
    items = band_items([tmp_path / "a"])
    for item in items:
        write(item)
    assert join(3, [pairs_path(tmp_path, item) for item in items]).tolist() == [0, 1, 0]


def test_nothing_to_compare(tmp_path):
    save_bands(tmp_path / "none", [], [])
    assert band_items([tmp_path / "none"]) == []
    assert join(0, []).tolist() == []


def by_search(total, pairs):
    """Connected parts by walking from each document, lowest first."""
    labels = [-1] * total
    for start in range(total):
        pending = [start] if labels[start] < 0 else []
        while pending:
            at = pending.pop()
            if labels[at] < 0:
                labels[at] = start
                pending += [b for a, b in pairs if a == at] + [a for a, b in pairs if b == at]
    return labels


@settings(max_examples=150, deadline=None)
@given(
    files=st.lists(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=12), max_size=3),
    at_once=st.sampled_from([1, 3, 1 << 21]),
)
def test_union_find_finds_the_connected_parts(tmp_path_factory, files, at_once):
    folder = tmp_path_factory.mktemp("pairs")
    paths = []
    for number, pairs in enumerate(files):
        paths.append(folder / str(number))
        np.array(pairs, [("first", "<u4"), ("other", "<u4")]).tofile(paths[-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neardup_module, "_PAIRS_AT_ONCE", at_once)
        assert join(15, paths).tolist() == by_search(15, [pair for pairs in files for pair in pairs])


def test_buckets_are_items_of_every_band(tmp_path, monkeypatch):
    monkeypatch.setattr(neardup_module, "BUCKET_KEYS", 2)
    some = [signature(shingles(units_of(f"text {n}"))) for n in range(5)]
    save_bands(tmp_path / "a", some, [0] * 5)
    items = band_items([tmp_path / "a"])
    assert len(items) == 14 * 3
    assert items[4] == BandItem(4, 1, 1, 3, 13)
