"""wikiextractor's files: one document an article, and nothing lost in silence."""

from __future__ import annotations

import pytest

from ulmfit_dist.corpus import wiki as wiki_module
from ulmfit_dist.corpus.compression import OpenedFile
from ulmfit_dist.corpus.wiki import WikiReader


def article(number, body=None):
    header = f'<doc id="{number}" url="http://x/?curid={number}" title="The "Title" {number}">\n'
    return f"{header}{body if body is not None else f'Title {number}'}\n\nText of it.\n</doc>\n"


def read(tmp_path, data, *, start=0, stop=None, before=0):
    bad = []
    (tmp_path / "wiki_00").write_bytes(data.encode("utf-8", "surrogateescape"))
    with OpenedFile(tmp_path / "wiki_00", start, stop) as file:
        records = list(WikiReader(file, before, lambda *one: bad.append(one)))
    return records, bad


def test_articles_keep_id_url_and_title_line(tmp_path):
    records, bad = read(tmp_path, "\ufeff" + article(12) + "\n\n" + article("7x", "É <doc\n<document>"))
    assert [(r.key, r.url, r.position, r.text) for r in records] == [
        ("12", "http://x/?curid=12", "line 1", "Title 12\n\nText of it.\n"),
        ("7x", "http://x/?curid=7x", "line 8", "É <doc\n<document>\n\nText of it.\n"),
    ]
    assert bad == []


def test_windows_line_ends_and_no_last_line_end(tmp_path):
    records, bad = read(tmp_path, article(1).replace("\n", "\r\n").rstrip())
    assert [r.key for r in records] == ["1"]
    assert bad == []


def test_what_is_no_article_is_set_aside_with_its_place(tmp_path):
    opened = article(2).replace("</doc>\n", "")
    data = "lead\nmore\n" + article(1) + opened + article(3) + "stray\n\nstray\n" + article(4) + "end\n" + opened
    records, bad = read(tmp_path, data)
    assert [r.key for r in records] == ["1", "3", "4"]
    assert [(position, reason) for position, reason, _ in bad] == [
        ("line 1", "text outside an article"),
        ("line 8", "article without </doc>"),
        ("line 17", "text outside an article"),
        ("line 25", "text outside an article"),
        ("line 26", "article without </doc>"),
    ]
    assert bad[1][2].startswith('<doc id="2"')


def test_an_article_that_cannot_be_text_costs_itself(tmp_path, monkeypatch):
    records, bad = read(tmp_path, article(1, "caf\udce9") + article(2))
    assert [r.key for r in records] == ["2"]
    assert [one[:2] for one in bad] == [("line 1", "broken UTF-8")]
    monkeypatch.setattr(wiki_module, "MAX_RECORD_BYTES", 100)
    records, bad = read(tmp_path, article(1, "x\n" * 60) + article(2))
    assert [r.key for r in records] == ["2"]
    assert [one[:2] for one in bad] == [("line 1", "too large")]


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_any_cut_gives_the_same_articles_and_the_same_quarantine(tmp_path, step):
    opened = article(2).replace("</doc>\n", "")
    data = "lead\n" + article(1) + opened + article(3) + "stray\nstray\n" + article(4) + "end\n\nend\n"
    whole = read(tmp_path, data)
    size = len(data.encode())
    starts = list(range(0, size, step))
    records, bad = [], []
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        some, set_aside = read(tmp_path, data, start=start, stop=stop, before=data.encode()[:start].count(b"\n"))
        records += some
        bad += set_aside
    assert (records, bad) == whole
