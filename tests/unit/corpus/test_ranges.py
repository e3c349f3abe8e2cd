"""Ranges: cut anywhere, a file gives the same records, keys and places; what cannot be cut is left whole."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus.locations import RemotePath
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.ranges import count_range, cut, number_ranges
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.corpus.sources import SourceReader, source_spans

LINES = [
    json.dumps({"text": f"text {n} " + "é" * (n % 50)}) if n % 40 else "not JSON" for n in range(2000)
]  # every 40th is set aside, so that places are compared too
DATA = "".join(line + "\n" for line in LINES).encode()
NUMBER_OF_RECORDS = sum(line.startswith("{") for line in LINES)


def packed(pack, size):
    """Members of `size` plain bytes each: cut through lines, as pbzip2 and bgzip do."""
    return b"".join(pack(DATA[start : start + size]) for start in range(0, len(DATA), size))


def read(spans, columns=None):
    """Ids and texts in order, and what was set aside, as told."""
    tally, told, documents = Tally(), [], []
    tally.add = lambda *one: told.append(one[:3])  # type: ignore[method-assign]
    for span in spans:
        documents += [(d.id, d.source, d.text) for d in SourceReader(span, "name", columns or SourceColumns(), tally)]
    return documents, told


def cut_and_numbered(span, piece_bytes):
    ranges = cut(span, piece_bytes)
    if span.kind == "parquet" or len(ranges) == 1:
        return ranges
    return number_ranges(ranges, [count_range(one) for one in ranges[:-1]])


@pytest.mark.parametrize("piece_bytes", [1000, 4096, 30_000])
@pytest.mark.parametrize(
    "data",
    [DATA, packed(lambda part: gzip.compress(part, mtime=0), 700), packed(bz2.compress, 900)],
    ids=["plain", "gzip", "bz2"],
)
def test_json_lines_are_the_same_however_they_are_cut(tmp_path, data, piece_bytes):
    (tmp_path / "data.jsonl").write_bytes(data)
    (whole,) = source_spans(tmp_path / "data.jsonl", SourceColumns())
    ranges = cut_and_numbered(whole, piece_bytes)
    assert len(ranges) >= len(data) // piece_bytes // 4
    assert max(span.size for span in ranges) < 3 * piece_bytes + 2000
    assert sum(span.size for span in ranges) == len(data)
    documents, told = read(ranges)
    assert len(documents) == NUMBER_OF_RECORDS
    assert (documents, told) == read([whole])


def test_wiki_is_the_same_however_it_is_cut(tmp_path):
    text = "".join(f'<doc id="{n}" url="" title="t">\nt\n{"x " * (n % 70)}\n</doc>\n' for n in range(500))
    (tmp_path / "wiki_00").write_text(text)
    (whole,) = source_spans(tmp_path / "wiki_00", SourceColumns())
    ranges = cut_and_numbered(whole, 2000)
    assert len(ranges) > 10
    assert read(ranges) == read([whole])
    assert len(read(ranges)[0]) == 500


def test_text_with_a_separator_is_the_same_however_it_is_cut(tmp_path):
    text = "".join(f"== {n}\n{'x ' * (n % 70)}\n" for n in range(1, 501))
    (tmp_path / "book.txt").write_text(text)
    columns = SourceColumns(separator="== .*")
    (whole,) = source_spans(tmp_path / "book.txt", columns)
    assert cut(whole, 2000) == [whole]
    ranges = cut(whole, 2000, parted=True)
    assert len(ranges) > 10
    ranges = number_ranges(ranges, [count_range(one) for one in ranges[:-1]])
    assert read(ranges, columns) == read([whole], columns)
    texts = [text for _, _, text in read(ranges, columns)[0]]
    assert texts == [f"{'x ' * (n % 70)}\n" for n in range(1, 501) if n % 70]


def test_parquet_is_cut_between_row_groups(tmp_path):
    texts = [None if n % 40 == 0 else f"text {n}" for n in range(2000)]
    pq.write_table(pa.table({"text": texts, "other": [b"x" * 20] * 2000}), tmp_path / "t.parquet", row_group_size=90)
    (whole,) = source_spans(tmp_path / "t.parquet", SourceColumns())
    ranges = cut_and_numbered(whole, 3000)
    assert len(ranges) > 3
    assert (ranges[0].start, ranges[-1].stop) == (0, 23)
    assert read(ranges) == read([whole])
    assert len(read(ranges)[0]) == 1950


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("small.jsonl", DATA[:1500]),
        ("one_member.jsonl.gz", gzip.compress(DATA)),
        ("data.jsonl.xz", lzma.compress(DATA)),
        ("data.jsonl.zst", pa.Codec("zstd").compress(DATA, asbytes=True)),
        ("data.csv", b"text\n" + b"a row\n" * 2000),
        ("data.txt", DATA),
    ],
)
def test_what_cannot_be_cut_is_read_in_one_pass(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    (whole,) = source_spans(tmp_path / name, SourceColumns())
    assert cut(whole, 1000) == [whole]


def test_the_magic_of_gzip_inside_compressed_data_is_no_member(tmp_path):
    # A stored block holds its bytes as they are: the text carries the three magic bytes, and what follows is no member.
    trap = b"\x1f\x8b\x08\x00" + b"\x02\x03\xff\xff\xff\xff" + b"\xff" * 50
    line = json.dumps({"text": "x" * 400}).encode() + b"\n"
    member = gzip.compress((line + trap + b"\n") * 20, 0)
    (tmp_path / "d.jsonl.gz").write_bytes(member * 10)
    (whole,) = source_spans(tmp_path / "d.jsonl.gz", SourceColumns())
    ranges = cut(whole, len(member) // 3)
    assert {span.start % len(member) for span in ranges} == {0}
    assert len(ranges) > 5


def test_damage_costs_its_range_and_no_other(tmp_path):
    members = [gzip.compress(DATA[start : start + 5000], mtime=0) for start in range(0, len(DATA), 5000)]
    broken = bytearray(members[3])
    broken[len(broken) // 2] ^= 0xFF
    data = b"".join([*members[:3], bytes(broken), *members[4:]])
    (tmp_path / "d.jsonl.gz").write_bytes(data)
    (whole,) = source_spans(tmp_path / "d.jsonl.gz", SourceColumns())
    documents, told = read(cut_and_numbered(whole, 1500))
    texts = [text for _, _, text in documents]
    wanted = [json.loads(line)["text"] for line in LINES if line.startswith("{")]
    assert texts[-100:] == wanted[-100:]
    # Three members before the damage are 95 lines, and the lines of its range after it are lost with it.
    assert texts[:90] == wanted[:90]
    assert len(texts) > 0.8 * len(wanted)
    assert "damaged or cut file" in [reason for _, _, reason in told]
    assert len({identity for identity, _, _ in documents}) == len(documents)


def test_a_url_is_cut_as_a_file_is(tmp_path):
    fsspec.filesystem("memory").pipe({"/ranges/d.jsonl": DATA})
    (whole,) = source_spans(RemotePath("memory://ranges/d.jsonl"), SourceColumns())
    ranges = cut_and_numbered(whole, 9000)
    assert len(ranges) > 5
    assert read(ranges) == read([whole])
