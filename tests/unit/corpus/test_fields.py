"""Rows of well-known collections, as their publishers write them."""

from __future__ import annotations

import json

import pytest

from ulmfit_dist.corpus.compression import OpenedFile
from ulmfit_dist.corpus.fields import field
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.corpus.tables import TableReader


def read(tmp_path, rows, columns=None):
    bad = []
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with OpenedFile(tmp_path / "a.jsonl") as file:
        reader = TableReader(tmp_path / "a.jsonl", columns or SourceColumns(), lambda *one: bad.append(one[:2]))
        return [(r.key, r.url, r.date, r.text) for r in reader.jsonl(file, 0)], bad


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"url": "http://a", "date_download": "2019", "digest": "sha1:X", "raw_content": "T", "language": "de"},
            ("1", "http://a", "2019", "T"),
        ),
        (
            {
                "content": "T",
                "warc_headers": {
                    "warc-record-id": "<urn:uuid:1>",
                    "warc-date": "2021",
                    "warc-target-uri": "http://a",
                    "content-length": 1,
                },
                "metadata": {"identification": {"label": "de", "prob": 0.9}},
            },
            ("<urn:uuid:1>", "http://a", "2021", "T"),
        ),
        ({"text": "T", "id": "x", "metadata": {"url": "http://a", "date": "2020"}}, ("x", "http://a", "2020", "T")),
        ({"text": "T", "url": "http://a", "timestamp": "2019-04"}, ("1", "http://a", "2019-04", "T")),
        ({"text": "T", "url": "http://a", "date": "2"}, ("1", "http://a", "2", "T")),
    ],
    ids=["ccnet", "oscar", "datatrove", "c4", "own"],
)
def test_known_layouts(tmp_path, row, expected):
    assert read(tmp_path, [row]) == ([expected], [])


def test_a_cirrus_dump(tmp_path):
    pages = [{"page_id": n, "title": f"P{n}", "namespace": 0, "timestamp": "2024", "text": f"text {n}"} for n in (7, 8)]
    rows = [row for page in pages for row in ({"index": {"_type": "_doc", "_id": str(page["page_id"])}}, page)]
    assert read(tmp_path, rows) == ([("7", "", "2024", "text 7"), ("8", "", "2024", "text 8")], [])


def test_own_fields_inside_objects(tmp_path):
    columns = SourceColumns(text="doc.body", id="doc.id", url="source.url")
    rows = [
        {"doc": {"body": "T", "id": 5}, "source": {"url": "http://a"}},
        {"doc": "no object"},
        {"doc.body": "dotted"},
    ]
    good, bad = read(tmp_path, rows, columns)
    assert good == [("5", "http://a", "", "T"), ("3", "", "", "dotted")]
    assert bad == [("line 2", "no text in column 'doc.body'")]


def test_a_chance_column_is_no_text(tmp_path):
    good, bad = read(tmp_path, [{"content": "an attribute"}, {"raw_content": "x"}, {"index": "text"}])
    assert good == []
    assert [reason for _, reason in bad] == ["no text in column 'text'"] * 3


def test_a_name_with_a_point_comes_before_the_object():
    assert field({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert field({"a": {"b": {"c": 3}}}, "a.b.c") == 3
    assert field({"a": [1]}, "a.b") is None
