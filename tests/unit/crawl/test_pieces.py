"""Pieces: small files together, large ones in ranges, sources apart; every file once and in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.corpus.locations import RemotePath
from ulmfit_dist.corpus.ranges import count_range
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl import pieces as pieces_module
from ulmfit_dist.crawl.pieces import PIECE_BYTES, busy_workers, plan_pieces, reading_digest


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Two sources: a folder with small files around one of lines that is cut, and a CSV that is not."""
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 1000)
    (tmp_path / "folder").mkdir()
    for name, size in (("a", 400), ("b", 500), ("c", 300), ("e", 10), ("f", 5000)):
        (tmp_path / "folder" / f"{name}.txt").write_bytes(b"x" * size)
    lines = "".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(200))
    (tmp_path / "folder" / "d").write_text(lines)
    (tmp_path / "table.csv").write_text("text\n" + "a row\n" * 1000)
    return [(tmp_path / "folder", "folder"), (tmp_path / "table.csv", "table.csv")]


def plan(corpus, limit=None):
    return plan_pieces(corpus, SourceColumns(), limit, lambda items: [count_range(item.span) for item in items])


def test_small_files_share_a_piece_and_large_ones_are_cut(corpus):
    pieces = plan(corpus)
    names = [[span.inside or span.file.name for span in piece.spans] for piece in pieces]
    ranges = sum(name == ["d"] for name in names)
    assert ranges >= 3
    assert names == [["a.txt", "b.txt"], ["c.txt"], *[["d"]] * ranges, ["e.txt"], ["f.txt"], ["table.csv"]]
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    assert [piece.source for piece in pieces] == [0] * (len(pieces) - 1) + [1]
    assert len({piece.digest for piece in pieces}) == len(pieces)
    assert sum(piece.size for piece in pieces) == sum(f.stat().st_size for f in corpus[0][0].iterdir()) + 6005


def test_a_large_text_is_cut_where_it_has_a_separator(corpus):
    def count(items):
        return [count_range(item.span) for item in items]

    (corpus[0][0] / "f.txt").write_text("a line of text\n" * 400)
    pieces = plan_pieces(corpus, SourceColumns(separator="-"), None, count)
    ranges = [piece.spans[0] for piece in pieces if piece.spans[0].inside == "f.txt"]
    assert len(ranges) > 3
    data = (corpus[0][0] / "f.txt").read_bytes()
    assert [span.before for span in ranges] == [data[: span.start].count(b"\n") for span in ranges]


def test_ranges_know_the_lines_before_them(corpus):
    spans = [piece.spans[0] for piece in plan(corpus) if piece.spans[0].inside == "d"]
    data = (corpus[0][0] / "d").read_bytes()
    assert [span.before for span in spans] == [data[: span.start].count(b"\n") for span in spans]
    assert spans[-1].stop is None


def test_with_a_limit_a_source_is_one_piece(corpus):
    pieces = plan(corpus, limit=7)
    assert [(len(piece.spans), piece.limit) for piece in pieces] == [(6, 7), (1, 7)]


def test_a_piece_is_named_by_what_it_reads(corpus):
    assert [piece.digest for piece in plan(corpus)] == [piece.digest for piece in plan(corpus)]
    assert {piece.digest for piece in plan(corpus)}.isdisjoint(piece.digest for piece in plan(corpus, limit=3))


@pytest.mark.parametrize(
    ("sizes", "busy"), [([0], 1), ([PIECE_BYTES - 1], 1), ([PIECE_BYTES // 2] * 3, 2), ([PIECE_BYTES * 9], 4)]
)
def test_workers_by_the_size_of_the_sources(tmp_path: Path, sizes: list[int], busy: int) -> None:
    (tmp_path / "folder").mkdir()
    for number, size in enumerate(sizes):
        with (tmp_path / "folder" / str(number)).open("wb") as file:
            file.truncate(size)
    files: list[Any] = sorted((tmp_path / "folder").iterdir())
    assert busy_workers(files, 4) == busy_workers([tmp_path / "folder"], 4) == busy


_WARC = b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 0\r\n\r\n\r\n\r\n"


def _warc_files(folder: Path, sizes: list[int]) -> list[Any]:
    folder.mkdir()
    for number, size in enumerate(sizes):
        with (folder / f"{number}.warc").open("wb") as file:
            file.write(_WARC)
            file.truncate(size)
    return sorted(folder.iterdir())


def test_web_pages_keep_workers_busy_at_an_eighth_of_the_size(tmp_path: Path) -> None:
    eighth = PIECE_BYTES // 8
    files = _warc_files(tmp_path / "crawl", [eighth, eighth])
    assert busy_workers(files, 4) == busy_workers([tmp_path / "crawl"], 4) == 3
    assert busy_workers(files[:1], 4) == 2
    with files[0].open("r+b") as file:
        file.truncate(eighth - 1)
    assert busy_workers(files[:1], 4) == 1


def test_a_piece_of_web_pages_is_an_eighth_as_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 1600)
    _warc_files(tmp_path / "crawl", [90, 90, 90, 250, 90])
    pieces = plan([(tmp_path / "crawl", "crawl")])
    assert [[span.inside for span in piece.spans] for piece in pieces] == [
        ["0.warc", "1.warc"],
        ["2.warc"],
        ["3.warc"],
        ["4.warc"],
    ]
    assert all(piece.is_crawl and piece.work == 8 * piece.size for piece in pieces)


def test_a_url_may_be_large_and_a_missing_file_is_nothing(tmp_path: Path) -> None:
    assert busy_workers([RemotePath("s3://b/c")], 4) == 3
    assert busy_workers([tmp_path / "absent"], 4) == 1


def test_a_reading_is_named_by_its_files_and_settings(corpus, monkeypatch):
    before = reading_digest(corpus, {"seed": 1})
    assert reading_digest(corpus, {"seed": 1}) == before != reading_digest(corpus, {"seed": 2})
    assert reading_digest(corpus[:1], {"seed": 1}) != before
    with monkeypatch.context() as patch:
        patch.setattr(pieces_module, "READING_VERSION", 0)
        assert reading_digest(corpus, {"seed": 1}) != before
    file = corpus[0][0] / "a.txt"
    file.write_bytes(b"y" * 401)
    assert reading_digest(corpus, {"seed": 1}) != before
