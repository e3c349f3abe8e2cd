"""Files of pages: each kind alone and together in a folder, what is none counted, what is lost named."""

from __future__ import annotations

import gzip

import pytest

from ulmfit_dist.corpus.locations import RemotePath
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.corpus.sources import source_spans
from ulmfit_dist.crawl import pagefiles as pagefiles_module
from ulmfit_dist.crawl.pagefiles import PageReader


def read(location):
    tally = Tally()
    reader = PageReader(source_spans(location, SourceColumns()), tally, "name")
    return list(reader), reader, tally


def test_a_folder_of_everything(tmp_path, warc):
    folder = tmp_path / "mirror"
    files = {
        "a/index.html": b"<p>\xe9t\xe9",
        "a/logo.png": b"\x89PNG" + bytes(500),
        "a/page.html.gz": gzip.compress(b"<p>packed"),
        "b.warc.gz": warc.packed(warc.pages(["one", "two"])),
        "c.txt": b"plain text",
        "d.html": b"",
        "style.css": b"p {}",
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    pages, reader, tally = read(folder)
    assert [(page.key, page.is_html) for page in pages] == [
        ("a/index.html", True),
        ("a/page.html.gz", True),
        ("b.warc.gz:urn:uuid:0", True),
        ("b.warc.gz:urn:uuid:1", True),
        ("c.txt", False),
    ]
    assert pages[0].body == b"<p>\xe9t\xe9"
    assert pages[1].body == b"<p>packed"
    assert reader.skipped == {"no page file": 3}
    assert tally.total == 0
    assert reader.bytes_read == sum(map(len, files.values()))


def test_a_single_page_and_one_that_is_too_large(tmp_path, monkeypatch):
    (tmp_path / "a.html").write_bytes(b"<p>" + b"x" * 100)
    assert [(page.key, len(page.body), page.flaw) for page in read(tmp_path / "a.html")[0]] == [("a.html", 103, "")]
    monkeypatch.setattr(pagefiles_module, "MAX_INFLATED_BYTES", 50)
    assert [(page.key, len(page.body), page.flaw) for page in read(tmp_path / "a.html")[0]] == [
        ("a.html", 0, "too_large")
    ]


def test_what_is_damaged_or_gone_is_lost_alone(tmp_path):
    (tmp_path / "a.html").write_bytes(b"<p>good")
    (tmp_path / "b.html.gz").write_bytes(gzip.compress(bytes(range(256)) * 900)[:-100])
    (tmp_path / "c.html").write_bytes(b"<p>gone")
    spans = source_spans(tmp_path, SourceColumns())
    (tmp_path / "c.html").unlink()
    tally = Tally()
    pages = list(PageReader(spans, tally, "name"))
    assert [page.key for page in pages] == ["a.html"]
    assert tally.lost_bytes.total() > 0
    assert dict(tally.counts) == {"damaged or cut file": 2}


@pytest.mark.parametrize("name", ["pages.warc.gz", "page.html"])
def test_a_url(warc, name):
    import fsspec

    data = warc.packed(warc.pages(["one"])) if "warc" in name else b"<p>one"
    with fsspec.open(f"memory://pagefiles/{name}", "wb") as file:
        file.write(data)
    pages, _, tally = read(RemotePath(f"memory://pagefiles/{name}"))
    assert len(pages) == 1
    assert b"one" in pages[0].body
    assert tally.total == 0
