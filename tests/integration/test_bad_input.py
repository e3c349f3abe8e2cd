"""Bad input, byte by byte: each flaw goes to quarantine with reason and place, and past the share the stage fails."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
from functools import partial

import pyarrow as pa
import pytest

from ulmfit_dist.corpus.documents import read_documents
from ulmfit_dist.crawl import ingest as ingest_module
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.errors import DataError, InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall

GOOD = [f"good text number {n}" for n in range(10)]
LIMIT = 1 << 24


def run(tmp_path, source, **settings):
    """Ingest one source into one split; the summary, the kept texts, and the quarantine."""
    chosen = IngestSettings(sources=[str(source)], splits={"train": 1.0}, **{"quarantine_share": 1.0, **settings})
    summary = ingest(StageCall(chosen, {}, tmp_path / "out", Silent()))
    return summary, [document.text for document in read_documents(tmp_path / "out/train")], quarantine(tmp_path)


def quarantine(tmp_path):
    records = (tmp_path / "out/quarantine.jsonl").read_text("ascii").splitlines()
    return [(record["position"], record["reason"]) for record in map(json.loads, records)]


def table(row):
    """A CSV of good rows, with one raw line in the middle, which is line 7."""
    good = [f"{text},x\n".encode() for text in GOOD]
    return b"text,other\n" + b"".join(good[:5]) + row + b"\n" + b"".join(good[5:])


def lines(line):
    """JSON lines with one raw line in the middle, which is line 6."""
    good = [json.dumps({"text": text}).encode() + b"\n" for text in GOOD]
    return b"".join(good[:5]) + line + b"\n" + b"".join(good[5:])


def wiki(block):
    """Articles of three lines with something else in the middle, from line 16."""
    good = [f'<doc id="{n}" url="u" title="t">\n{text}\n</doc>\n'.encode() for n, text in enumerate(GOOD)]
    return b"".join(good[:5]) + block + b"\n" + b"".join(good[5:])


@pytest.mark.parametrize(
    ("name", "data", "place", "reason"),
    [
        ("a.csv", table(b"caf\xe9,x"), "line 7", "broken UTF-8"),
        ("a.csv", table(b"\xed\xa0\x80,x"), "line 7", "broken UTF-8"),
        ("a.csv", table(b"only one"), "line 7", "wrong number of columns"),
        ("a.csv", table(b"one,two,three"), "line 7", "wrong number of columns"),
        ("a.csv", table(b'"never closed,x'), "line 7", "not CSV: unexpected end of data"),
        ("a.csv", table(b'"closed" twice,x'), "line 7", "not CSV: ',' expected after '\"'"),
        ("a.csv", table(b"x" * (LIMIT + 1) + b",x"), "line 7", "too large"),
        ("a.jsonl", lines(b'{"text": "caf\xe9"}'), "line 6", "broken UTF-8"),
        ("a.jsonl", lines(rb'{"text": "half a pair \ud83d"}'), "line 6", "broken UTF-8"),
        ("a.jsonl", lines(b'{"text": "cut'), "line 6", "not JSON"),
        ("a.jsonl", lines(b'["text"]'), "line 6", "not a JSON object"),
        ("a.jsonl", lines(b'{"other": 1}'), "line 6", "no text in column 'text'"),
        ("a.jsonl", lines(b'{"text": "' + b"x" * (LIMIT + 1) + b'"}'), "line 6", "too large"),
        ("wiki_00", wiki(b'<doc id="x" url="u" title="t">\nnever closed'), "line 16", "article without </doc>"),
        ("wiki_00", wiki(b"stray\n\nand more"), "line 16", "text outside an article"),
        ("wiki_00", wiki(b'<doc id="x" url="u" title="t">\ncaf\xe9\n</doc>'), "line 16", "broken UTF-8"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_bad_record_costs_itself_alone(tmp_path, name, data, place, reason):
    (tmp_path / name).write_bytes(data)
    summary, texts, found = run(tmp_path, tmp_path / name)
    assert texts == GOOD
    assert found == [(place, reason)]
    assert (summary["quarantined"], summary["records"]) == ({reason: 1}, 11)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        # A stray NUL or another control is no reason to lose a text: it is left out, as it cannot be read anyway.
        ("a\0b", "ab"),
        ("a\x07\x1b[0mb\x85c", "a[0mb\nc"),
        # Bidi embeddings, overrides and isolates make text read otherwise than it is stored.
        ("abc \u202edef\u202c \u2066ghi\u2069", "abc def ghi"),
        # Joiners are part of words and emoji; so are marks of direction without a scope.
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f467 \u200f", None),
        ("\ud83d\ude00 as a pair of escapes", "\U0001f600 as a pair of escapes"),
    ],
)
def test_odd_characters_are_left_out_or_kept(tmp_path, written, read):
    (tmp_path / "a.jsonl").write_bytes(lines(json.dumps({"text": written}).encode()))
    _, texts, found = run(tmp_path, tmp_path / "a.jsonl")
    assert texts == [*GOOD[:5], written if read is None else read, *GOOD[5:]]
    assert found == []


def test_empty_documents_are_rows_with_a_reason(tmp_path):
    (tmp_path / "a.csv").write_bytes(table(b'"",x\n" \xe2\x80\xae\x00 ",x'))
    summary, texts, found = run(tmp_path, tmp_path / "a.csv")
    assert texts == GOOD
    assert summary["decisions"]["drop"] == {"empty": 2}
    assert found == []


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),
    "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}
NUMBERS = random.Random(3)
MANY = [f"text {n} {NUMBERS.randrange(10**100)}" for n in range(12_000)]
MANY_LINES = "".join(json.dumps({"text": text}) + "\n" for text in MANY).encode()


@pytest.mark.parametrize("kind", PACKERS)
def test_of_a_cut_file_what_was_read_stays_and_the_loss_is_said(tmp_path, kind):
    packed = PACKERS[kind](MANY_LINES)
    (tmp_path / f"a.jsonl.{kind}").write_bytes(packed[: -len(packed) // 10])
    _, texts, found = run(tmp_path, tmp_path / f"a.jsonl.{kind}")
    assert len(texts) > 5000
    assert texts == MANY[: len(texts)]
    assert [reason for _, reason in found] == ["damaged or cut file"]
    assert found[0][0].startswith(f"a.jsonl.{kind}, byte ")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_of_a_cut_file_of_members_the_whole_ones_stay(tmp_path, kind):
    half = len(MANY_LINES) // 2
    packed = [PACKERS[kind](MANY_LINES[:half]), PACKERS[kind](MANY_LINES[half:])]
    (tmp_path / f"a.jsonl.{kind}").write_bytes(packed[0] + packed[1][:30])
    _, texts, found = run(tmp_path, tmp_path / f"a.jsonl.{kind}")
    assert texts == MANY[: MANY_LINES[:half].count(b"\n")]
    assert [reason for _, reason in found] == ["damaged or cut file"]


@pytest.mark.parametrize("share", [0.01, 1.0])
def test_damage_in_the_middle_counts_by_its_bytes(tmp_path, share):
    half = len(MANY_LINES) // 2
    packed = bytearray(gzip.compress(MANY_LINES[:half]) + gzip.compress(MANY_LINES[half:]))
    packed[packed.index(b"\x1f\x8b\x08", 3) + 2] = 9  # a method that does not exist
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    if share == 1.0:
        _, texts, found = run(tmp_path, tmp_path / "a.jsonl.gz", quarantine_share=share)
        assert texts == MANY[: MANY_LINES[:half].count(b"\n")]
        assert [reason for _, reason in found] == ["damaged or cut file"]
        return
    # One record among thousands, but half of the file.
    with pytest.raises(DataError, match=r"more than 1.00% of the bytes.*quarantine_share") as caught:
        run(tmp_path, tmp_path / "a.jsonl.gz", quarantine_share=share)
    assert caught.value.exit_code == 1
    assert len(quarantine(tmp_path)) == 1
    assert not list(tmp_path.glob("out/*/manifest.json"))


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("utf16.csv", "text\nx\n".encode("utf-16"), "the mark of UTF-16 or UTF-32 at its start"),
        ("utf16be.txt", "﻿text".encode("utf-16-be"), "the mark of UTF-16 or UTF-32 at its start"),
        ("utf16bare.txt", "text without a mark".encode("utf-16-le"), "binary data (NUL bytes)"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(500), "binary data (NUL bytes)"),
        ("empty.csv", b"", "0 bytes"),
        ("notparquet.parquet", b"PAR1" + b"x" * 100, None),
    ],
)
def test_a_file_that_is_no_text_is_refused_alone_and_set_aside_in_a_folder(tmp_path, name, data, found):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        run(tmp_path, tmp_path / name)
    assert caught.value.exit_code == 2
    assert name in str(caught.value)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).write_bytes(data)
    for number, text in enumerate(GOOD):
        (folder / f"{number}.txt").write_text(text)
    _, texts, aside = run(tmp_path, folder)
    assert texts == GOOD
    assert [position for position, _ in aside] == [name]
    if found is not None:
        record = json.loads((tmp_path / "out/quarantine.jsonl").read_text())
        assert (record["reason"], record["sample"]) == ("unreadable file", found)


def test_a_file_that_vanishes_is_named_and_fails_past_the_share(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, text in enumerate(GOOD):
        (folder / f"{number}.txt").write_text(text)
    plan = ingest_module.plan_pieces

    def planned(*arguments):
        pieces = plan(*arguments)
        (folder / "4.txt").unlink()
        return pieces

    monkeypatch.setattr(ingest_module, "plan_pieces", planned)
    with pytest.raises(DataError, match="more than 1.00% of the records") as caught:
        run(tmp_path, folder, quarantine_share=0.01)
    assert caught.value.exit_code == 1
    assert quarantine(tmp_path) == [("4.txt", "unreadable file")]
    (folder / "4.txt").write_text(GOOD[4])
    _, texts, found = run(tmp_path, folder, quarantine_share=1.0)
    assert texts == [text for number, text in enumerate(GOOD) if number != 4]
    assert len(found) == 1


def test_one_bad_record_in_a_hundred_passes_and_two_do_not(tmp_path):
    good = "".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(99))
    (tmp_path / "a.jsonl").write_text(good + "not JSON\n")
    summary, _, _ = run(tmp_path, tmp_path / "a.jsonl", quarantine_share=0.01)
    assert summary["quarantined"] == {"not JSON": 1}
    (tmp_path / "b.jsonl").write_text(good + "not JSON\n" * 2)
    with pytest.raises(DataError, match="more than 1.00%.*2 of 101: 2 not JSON"):
        run(tmp_path, tmp_path / "b.jsonl", quarantine_share=0.01)


def test_a_ten_megabyte_line_is_one_document(tmp_path):
    long = " ".join(f"word{n}" for n in range(1_000_000))
    assert len(long) > 10_000_000
    (tmp_path / "a.jsonl").write_bytes(lines(json.dumps({"text": long}).encode()))
    _, texts, found = run(tmp_path, tmp_path / "a.jsonl")
    assert texts == [*GOOD[:5], long, *GOOD[5:]]
    assert found == []
