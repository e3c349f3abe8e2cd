"""Wikipedia's dumps: articles with their ids, the same from every range of a multistream file."""

from __future__ import annotations

import bz2
from html import escape

import pytest

from ulmfit_dist.corpus import mediawiki as mediawiki_module
from ulmfit_dist.corpus.compression import OpenedFile
from ulmfit_dist.corpus.formats import detect_format
from ulmfit_dist.corpus.mediawiki import MediaWikiReader
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.ranges import cut
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.corpus.sources import SourceReader, source_spans

HEAD = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="de">\n  <siteinfo>\n  </siteinfo>\n'
TAIL = "</mediawiki>\n"


def page(number, text, *, ns=0, redirect="", model="wikitext", title=""):
    return (
        f"  <page>\n    <title>{title or f'Page {number}'}</title>\n    <ns>{ns}</ns>\n"
        f"    <id>{number}</id>\n{redirect}"
        f"    <revision>\n      <id>9{number}</id>\n      <timestamp>2024-05-01T00:00:00Z</timestamp>\n"
        f"      <model>{model}</model>\n      <format>text/x-wiki</format>\n"
        f'      <text bytes="1" xml:space="preserve">{escape(text)}</text>\n    </revision>\n  </page>\n'
    )


def read(tmp_path, data):
    bad = []
    (tmp_path / "dump.xml").write_bytes(data if isinstance(data, bytes) else data.encode())
    with OpenedFile(tmp_path / "dump.xml") as file:
        return list(MediaWikiReader(file, lambda *one: bad.append(one[:2]))), bad


def test_articles_alone(tmp_path):
    data = (
        HEAD
        + page(12, "'''Bern''' ist die [[Bundesstadt]] der {{x}}[[Schweiz|Schweiz]].\n<ref>a</ref>\n== Geschichte ==")
        + page(13, "Talk", ns=1)
        + page(14, "#REDIRECT [[Bern]]", redirect='    <redirect title="Bern" />\n')
        + page(15, '{"a": 1}', model="json")
        + page(16, "Text", title="A &amp; B")
        + TAIL
    )
    records, bad = read(tmp_path, data)
    assert [(r.key, r.date, r.text) for r in records] == [
        ("12", "2024-05-01T00:00:00Z", "Page 12\n\nBern ist die Bundesstadt der Schweiz.\n\nGeschichte"),
        ("16", "2024-05-01T00:00:00Z", "A & B\n\nText"),
    ]
    assert bad == []


def test_broken_pages_cost_themselves(tmp_path, monkeypatch):
    open_page = page(2, "never closed").replace("  </page>\n", "")
    bomb = page(3, "x").replace("<title>", '<!DOCTYPE p [<!ENTITY a "aaaa">]><title>&a;')
    broken = page(4, "x").replace("</title>", "")
    data = HEAD + page(1, "one") + open_page + bomb + broken + page(5, "x" * 5000) + page(6, "six") + open_page
    monkeypatch.setattr(mediawiki_module, "MAX_RECORD_BYTES", 3000)
    records, bad = read(tmp_path, data)
    assert [r.key for r in records] == ["1", "6"]
    assert [reason.partition(":")[0] for _, reason in bad] == [
        "page without </page>",
        "not XML",
        "not XML",
        "too large",
        "page without </page>",
    ]
    assert bad[0][0] == "page 'Page 2'"


@pytest.mark.parametrize("piece", [300, 2000])
@pytest.mark.parametrize("packed", [True, False])
def test_ranges_give_every_article_once(tmp_path, packed, piece):
    pages = [page(n, f"Text number {n} " + "words " * (n % 40)) for n in range(120)]
    streams = [HEAD, *("".join(pages[n : n + 7]) for n in range(0, 120, 7)), TAIL]
    path = tmp_path / ("dump.xml.bz2" if packed else "dump.xml")
    path.write_bytes(b"".join((bz2.compress if packed else bytes)(stream.encode()) for stream in streams))
    assert detect_format(path, ["text"]) == "mediawiki"
    (whole,) = source_spans(path, SourceColumns())
    tally = Tally()

    def texts(spans):
        return [(d.id, d.text) for span in spans for d in SourceReader(span, "name", SourceColumns(), tally)]

    ranges = cut(whole, piece)
    assert len(ranges) >= 3
    assert texts(ranges) == texts([whole])
    assert len(texts([whole])) == 120
    assert tally.total == 0
