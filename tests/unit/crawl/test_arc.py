"""ARC files of both versions, written byte by byte; what is no record is passed over, what is cut is said."""

from __future__ import annotations

import gzip

import pytest

from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.crawl import arc as arc_module
from ulmfit_dist.crawl.arc import ArcReader

HEAD = (
    b"filedesc://x.arc 0.0.0.0 20010101000000 text/plain 77\n1 0 Test\nURL IP-address Archive-date Type Length\n"
    + b"\n" * 9
)


def record(number, body, status="200 OK", media="text/html", url="", *, version=1):
    block = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\n\r\n".encode() + body
    more = "" if version == 1 else "200 - - 0 x.arc "
    line = f"{url or f'http://example.org/{number}'} 10.0.0.1 20010203040506 {media} {more}{len(block)}\n"
    return line.encode() + block + b"\n"


def read(tmp_path, data):
    (tmp_path / "x.arc").write_bytes(data)
    tally = Tally()
    reader = ArcReader(tmp_path / "x.arc", tally)
    return list(reader), reader, tally


def head():
    first, _, rest = HEAD.partition(b"\n")
    return first.rpartition(b" ")[0] + b" %d\n" % len(rest) + rest + b"\n"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("packed", [True, False])
def test_pages_and_skipped_records(tmp_path, packed, version):
    parts = [
        head(),
        record(1, b"<p>one\nhttp://no.record 1 2 3 4", version=version),
        record(2, b"gone", "404 Not Found", version=version),
        record(3, b"\x89PNG", media="image/png", version=version),
        record(4, b"plain", media="text/plain", version=version),
        record(5, b"x", url="dns:example.org", version=version),
        record(6, b"", version=version),
    ]
    data = b"".join(gzip.compress(part) for part in parts) if packed else b"".join(parts)
    pages, reader, tally = read(tmp_path, data)
    assert [(p.url, p.date, p.is_html, p.body) for p in pages] == [
        ("http://example.org/1", "2001-02-03T04:05:06Z", True, b"<p>one\nhttp://no.record 1 2 3 4"),
        ("http://example.org/4", "2001-02-03T04:05:06Z", False, b"plain"),
        ("http://example.org/6", "2001-02-03T04:05:06Z", True, b""),
    ]
    assert pages[0].key == f"byte {len(parts[0])}"
    assert reader.skipped == {"filedesc": 1, "status": 1, "media type": 1, "response": 1}
    assert (tally.total, reader.bytes_read) == (0, len(data))


def test_garbage_is_passed_over_and_named_once(tmp_path):
    pages, _, tally = read(tmp_path, head() + record(1, b"a") + b"garbage\n\xff\xfe more\n" + record(2, b"b"))
    assert [page.body for page in pages] == [b"a", b"b"]
    assert dict(tally.counts) == {"damaged record": 1}


def test_large_records_keep_their_row_without_a_body(tmp_path, monkeypatch):
    monkeypatch.setattr(arc_module, "MAX_RECORD_BYTES", 500)
    monkeypatch.setattr("ulmfit_dist.crawl.warc.MAX_RECORD_BYTES", 500)
    pages, _, _ = read(tmp_path, head() + record(1, b"x" * 3_000_000) + record(2, b"b"))
    assert [(page.flaw, page.body) for page in pages] == [("too_large", b""), ("", b"b")]


@pytest.mark.parametrize("packed", [True, False])
def test_a_cut_file_gives_what_is_whole(tmp_path, packed):
    data = head() + record(1, b"a" * 500) + record(2, bytes(range(256)) * 9)
    pages, _, tally = read(tmp_path, gzip.compress(data)[:-30] if packed else data[:-30])
    assert [page.body for page in pages] == [b"a" * 500]
    assert dict(tally.counts) == {"cut file": 1}
