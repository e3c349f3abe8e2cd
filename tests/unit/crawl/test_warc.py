"""WARC: pages of good files; of cut and damaged ones what is whole, with the place of the damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path

import pyarrow as pa
import pytest

from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.crawl import warc as warc_module
from ulmfit_dist.crawl.warc import WarcReader

SAMPLE = Path(__file__).parents[3] / "launch" / "data" / "quickstart" / "sample.warc.gz"


def read(tmp_path, data):
    path = tmp_path / "x.warc.gz"
    path.write_bytes(data)
    tally = Tally()
    reader = WarcReader(path, tally)
    return list(reader), reader, tally


def keys(pages):
    return [page.key.rpartition(":")[2] for page in pages]


@pytest.mark.parametrize("packed", [True, False])
def test_pages_and_skipped_records(tmp_path, warc, packed):
    records = [
        warc.record("warcinfo", 0, b"software: x\r\n", media="application/warc-fields"),
        warc.record("request", 1, b"GET / HTTP/1.1\r\n\r\n", media="application/http; msgtype=request"),
        warc.record("response", 2, warc.response(b"<p>one"), uri="<https://example.org/a>"),
        warc.record("response", 3, warc.response(b"gone", "404 Not Found")),
        warc.record("response", 4, warc.response(b"\x89PNG", media="image/png")),
        warc.record("response", 5, warc.response(b"plain", media="text/plain; charset=ISO-8859-1")),
        warc.record("response", 6, b"20080430204825\nwww.x. 60 IN A 1.2.3.4\n", uri="dns:www.x", media="text/dns"),
        warc.record("conversion", 7, b"WET text", media="text/plain"),
        warc.record("resource", 8, b"a log", uri="metadata://gnu.org/log", media="text/plain"),
    ]
    pages, reader, tally = read(tmp_path, warc.packed(records) if packed else b"".join(records))
    assert [(p.key, p.url, p.is_html, p.charset, p.body) for p in pages] == [
        ("urn:uuid:2", "https://example.org/a", True, "utf-8", b"<p>one"),
        ("urn:uuid:5", "http://example.org/5", False, "iso-8859-1", b"plain"),
        ("urn:uuid:7", "http://example.org/7", False, None, b"WET text"),
    ]
    assert pages[0].date == "2024-04-25T16:24:44Z"
    assert reader.skipped == {"warcinfo": 1, "request": 1, "status": 1, "media type": 1, "response": 1, "resource": 1}
    assert tally.total == 0
    assert len(pages) + reader.skipped.total() == len(records)


def test_transfer_and_content_encodings_are_undone(tmp_path, warc):
    packed = gzip.compress(b"<p>hello")
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    extra = "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n"
    pages, _, _ = read(tmp_path, warc.record("response", 1, warc.response(chunked, extra=extra)))
    assert pages[0].body == b"<p>hello"


def test_all_robots_headers_are_told(tmp_path, warc):
    extra = "X-Robots-Tag: noarchive\r\nx-robots-tag: otherbot: noai\r\n"
    records = [warc.record("response", n, warc.response(b"<p>x", extra=some)) for n, some in enumerate([extra, ""])]
    pages, _, _ = read(tmp_path, b"".join(records))
    assert [page.robots for page in pages] == ["noarchive, otherbot: noai", ""]


def test_large_records_and_bombs_are_not_inflated(tmp_path, warc, monkeypatch):
    monkeypatch.setattr(warc_module, "MAX_RECORD_BYTES", 5_000)
    monkeypatch.setattr(warc_module, "MAX_INFLATED_BYTES", 20_000)
    bomb = gzip.compress(b"\0" * 2_000_000)
    assert len(bomb) < 4_000
    records = [
        warc.record("response", 1, warc.response(b"x" * 6_000)),
        warc.record("response", 2, warc.response(bomb, extra="Content-Encoding: gzip\r\n")),
        warc.record("response", 3, warc.response(b"fine")),
    ]
    pages, _, tally = read(tmp_path, warc.packed(records))
    assert [(page.flaw, len(page.body)) for page in pages] == [("too_large", 0), ("too_large", 0), ("", 4)]
    assert tally.total == 0


def test_a_file_cut_anywhere_gives_the_whole_records_and_says_so(tmp_path, warc):
    records = warc.pages([f"page {number} " * 30 for number in range(5)])
    members = [warc.packed([one]) for one in records]
    whole, ends = b"".join(members), [sum(map(len, members[: n + 1])) for n in range(5)]
    for size in {*range(1, len(whole), 11), *(end + shift for end in ends for shift in (-9, -1, 0, 1))} - {
        len(whole) + 1
    }:
        pages, _, tally = read(tmp_path, whole[:size])
        complete = sum(end <= size for end in ends)
        # The last record's text may be whole though its gzip trailer is cut.
        assert keys(pages) in ([str(n) for n in range(complete)], [str(n) for n in range(complete + 1)]), size
        assert tally.total == (0 if size in ends else 1), (size, tally.first)


def test_a_plain_file_cut_inside_a_record_says_so(tmp_path, warc):
    records = warc.pages(["one " * 50, "two " * 50])
    pages, _, tally = read(tmp_path, b"".join(records)[:-60])
    assert keys(pages) == ["0"]
    assert dict(tally.counts) == {"cut file": 1}


@pytest.mark.parametrize("packed", [True, False])
def test_reading_goes_on_after_damage(tmp_path, warc, packed):
    records = warc.pages([f"page {number} " * 40 for number in range(6)])
    parts = [warc.packed([one]) if packed else one for one in records]
    if packed:
        parts[2] = parts[2][:15] + b"\xff" * 8 + parts[2][23:]
    else:
        parts[2] = parts[2][:-80]
    pages, _, tally = read(tmp_path, b"".join(parts))
    assert set(keys(pages)) >= {"0", "1", "4", "5"}
    assert "2" not in keys(pages) or not packed
    assert dict(tally.counts) == {"damaged record": 1}
    assert len(keys(pages)) == len(set(keys(pages)))


def test_garbage_between_members_is_passed_over(tmp_path, warc):
    parts = [warc.packed([one]) for one in warc.pages(["one", "two", "three"])]
    # The garbage holds a gzip member that is no record.
    garbage = b"\x1f\x8b\x08 nothing " + gzip.compress(b"not a record") + b"!"
    pages, _, tally = read(tmp_path, parts[0] + garbage + parts[1] + parts[2])
    assert keys(pages) == ["0", "1", "2"]
    assert tally.total == 1


@pytest.mark.parametrize("data", [b"not a warc at all", b"WARC/1.0\r\n", zlib.compress(b"x"), b"\x1f\x8b\x08"])
def test_what_is_no_warc_gives_no_page_and_one_entry(tmp_path, data):
    pages, _, tally = read(tmp_path, data)
    assert pages == []
    assert tally.total == 1


def test_the_sample_has_its_pages():
    tally = Tally()
    reader = WarcReader(SAMPLE, tally)
    positions = []
    pages = [positions.append(reader.bytes_read) or page for page in reader]
    assert (len(pages), tally.total) == (22, 0)
    assert positions == sorted(positions)
    assert reader.bytes_read == SAMPLE.stat().st_size
    assert all(page.url.startswith("https://") for page in pages)


PACKERS = {
    "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_other_compressions_by_the_record_or_whole(tmp_path, warc, kind):
    records = warc.pages([f"page {number} " * 30 for number in range(5)])
    for data in (b"".join(map(PACKERS[kind], records)), PACKERS[kind](b"".join(records))):
        pages, reader, tally = read(tmp_path, data)
        assert (keys(pages), tally.total, reader.bytes_read) == (["0", "1", "2", "3", "4"], 0, len(data))


@pytest.mark.parametrize("kind", PACKERS)
def test_other_compressions_cut_or_damaged_say_so(tmp_path, warc, kind):
    members = [PACKERS[kind](one) for one in warc.pages([f"page {number} " * 30 for number in range(5)])]
    for data in (b"".join(members)[:-20], b"".join(members[:3]) + members[3][:40] + b"\xff" * 60 + members[4]):
        pages, _, tally = read(tmp_path, data)
        # Arrow's zstd gives nothing of the block, 128 KiB, in which it meets damage.
        assert keys(pages)[:3] == ["0", "1", "2"] or (kind == "zst" and not pages)
        assert dict(tally.counts) == {"cut file": 1}


def test_a_bomb_fills_no_disk(tmp_path, warc, monkeypatch):
    monkeypatch.setattr(warc_module, "MAX_INFLATED_BYTES", 100_000)
    monkeypatch.setattr(warc_module, "_MAX_RATIO", 20)
    data = PACKERS["zst"](b"".join(warc.pages(["one"])) + bytes(80_000_000))
    pages, _, tally = read(tmp_path, data)
    assert keys(pages) == ["0"]
    assert tally.counts["cut file"] == 1
    assert "20 times" in tally.first
