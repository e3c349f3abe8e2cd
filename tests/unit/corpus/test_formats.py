"""Formats: content first, then extension, then the first line; what is no text is refused before any work."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus.formats import detect_format, source_files
from ulmfit_dist.errors import InputError


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"text\nx\n", "csv"),
        ("a.tsv", b"text\tlabel\n", "tsv"),
        ("a.jsonl", b'{"text": 1}\n', "jsonl"),
        ("a.json", b'{"text": 1}\n', "jsonl"),
        ("a.txt", b'{"text": 1}\n', "text"),
        ("a.CSV.GZ", gzip.compress(b"text\nx\n", mtime=0), "csv"),
        ("a.data", b'{"text": "x"}\n', "jsonl"),
        ("a.data", b"id,text\n1,x\n", "csv"),
        ("a", b'0,"a review"\n', "csv"),
        ("a", b"\xef\xbb\xbfA sentence, with a comma.\n", "text"),
        ("a", b"{curly} prose\n", "text"),
        ("a.csv", b"WARC/1.0\r\n", "warc"),
        ("a.dat", b"filedesc://x.arc 0.0.0.0 20010101000000 text/plain 0\n", "arc"),
        ("a", b"\n<!-- saved -->\n<!DOCTYPE  HTML PUBLIC x>\n<title>", "html"),
        ("a.txt", b"\xef\xbb\xbf<?xml version='1.0'?>\n<html lang=de>", "html"),
        ("a.HTM", "<p>".encode("utf-16"), "html"),
        ("a.txt", b"<htmlish> text", "text"),
        ("a.xml.bz2", b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">\n', "mediawiki"),
        ("wiki_00", b'<doc id="12" url="http://x/?curid=12" title="A "quoted" title">\nA\n</doc>\n', "wiki"),
        ("wiki_00.txt", b'\xef\xbb\xbf\n<doc id="12" revid="3" url="http://x" title="A">\r\nA\n</doc>\n', "wiki"),
        ("a.txt", b"<doc> a text about elements </doc>\n", "text"),
        ("a", b'{"text": "' + b"x" * 100_000 + b'"}\n', "jsonl"),
        ("a", b"{curly " + b"x" * 100_000, "text"),
        ("a.csv", gzip.compress(b"WARC/1.0\r\n", mtime=0), "warc"),
    ],
)
def test_kinds(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert detect_format(tmp_path / name, ["text"]) == expected


def test_parquet_is_known_by_its_magic(tmp_path):
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.csv")
    assert detect_format(tmp_path / "a.csv", ["text"]) == "parquet"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty.*0 bytes"),
        ("a.csv", b" \r\n\n", "is empty.*white space"),
        ("a.csv.gz", gzip.compress(b"text\nx\n" * 99, mtime=0)[:10], "cannot read"),
        ("a.csv", "text\nx\n".encode("utf-16"), "not UTF-8.*iconv"),
        ("a.txt", bytes(range(32)) * 40, "not text.*binary"),
        ("a.json", b' [{"text": "x"}]', "JSON array.*one object a line"),
    ],
)
def test_refusals(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        detect_format(tmp_path / name, ["text"])
    assert name in str(caught.value)
    assert "do: " in str(caught.value)


def test_folders(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        detect_format(tmp_path / "absent", ["text"])
    with pytest.raises(InputError, match="is empty"):
        detect_format(tmp_path, ["text"])
    for name in ("pos/1.txt", "neg/2.txt", "neg/.hidden", "classes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert detect_format(tmp_path, ["text"]) == "folder"
    assert source_files(tmp_path) == [("neg/2.txt", tmp_path / "neg/2.txt"), ("pos/1.txt", tmp_path / "pos/1.txt")]
    (tmp_path / "classes.txt").unlink()
    assert detect_format(tmp_path, ["text"]) == "classes"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("wiki_00", b'<doc id="1" url="" title="">\nA\n</doc>\n', "folder"),
        ("wiki_00", b'{"id": "1", "text": "A"}\n', "folder"),
        ("data.tsv", b"text\nx\n", "folder"),
        ("49960", b"From: somebody\nSubject: text, and more\n", "classes"),
        ("broken", b"\xff\xfea\0", "classes"),
    ],
)
def test_folders_of_tables_are_no_classes(tmp_path, name, content, expected):
    for folder in ("AA", "AB"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
    assert detect_format(tmp_path, ["text"]) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"site/a.html": b"<p>x", "site/logo.png": b"\x89PNG" + bytes(500), "readme.txt": b"x"}, "crawl"),
        ({"a": b"WARC/1.0\r\n", "b": b"WARC/1.0\r\n"}, "crawl"),
        ({"seg/a.warc.gz": gzip.compress(b"WARC/1.0\r\n", mtime=0)}, "crawl"),
        ({"a.jsonl": b'{"text": "x"}\n', "about.html": b"<p>x"}, "folder"),
    ],
)
def test_folders_of_web_pages(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert detect_format(tmp_path, ["text"]) == expected
