"""Tables: the traps of CSV, JSON lines and Parquet, each by a file made here."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus import lines as lines_module
from ulmfit_dist.corpus import records as records_module
from ulmfit_dist.corpus import tables as tables_module
from ulmfit_dist.corpus.compression import OpenedFile
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.corpus.tables import TableReader
from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.rawtext import split_fields


class Read:
    """The records of a table and what was set aside."""

    def __init__(self, tmp_path, data, kind="csv", columns=None):
        self.bad = []
        if kind != "parquet":
            (tmp_path / "table").write_bytes(data)
        reader = TableReader(tmp_path / "table", columns or SourceColumns(), lambda *bad: self.bad.append(bad))
        with OpenedFile(tmp_path / "table") as file:
            read = {
                "csv": lambda: reader.csv(file.stream, ","),
                "tsv": lambda: reader.csv(file.stream, "\t"),
                "jsonl": lambda: reader.jsonl(file, 0),
                "parquet": lambda: reader.parquet(0, None, 0),
            }[kind]
            self.records = list(read())
        self.texts = [record.text for record in self.records]

    @property
    def reasons(self):
        return [(position, reason) for position, reason, _ in self.bad]


def test_named_columns_in_any_order_with_extra_ones(tmp_path):
    read = Read(tmp_path, b"label,extra,text,id\npos,1,a film,r7\nneg,2,another,r8\n")
    assert [(r.key, r.label, r.text) for r in read.records] == [("r7", "pos", "a film"), ("r8", "neg", "another")]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_and_byte_order_mark(tmp_path, bom, end):
    read = Read(tmp_path, bom + end.join([b"text,label", b"one,a", b'"two, three",b', b""]))
    assert [(r.text, r.label) for r in read.records] == [("one", "a"), ("two, three", "b")]
    assert read.bad == []


def test_quoted_fields_hold_new_lines_quotes_and_commas(tmp_path):
    rows = [["0", 'He said "no",\nthen\r\nleft.'], ["1", "\n"], ["0", ""]]
    data = io.StringIO(newline="")
    csv.writer(data).writerows(rows)
    read = Read(tmp_path, data.getvalue().encode())
    assert [[record.label, record.text] for record in read.records] == rows


def test_the_2018_layout_maps_labels_through_classes(tmp_path):
    (tmp_path / "classes.txt").write_text("neg\npos\n")
    read = Read(tmp_path, b"1,good\n0,bad\n2,odd\npos,named\n")
    assert [(r.label, r.text, r.key) for r in read.records] == [
        ("pos", "good", "1"),
        ("neg", "bad", "2"),
        ("pos", "named", "4"),
    ]
    assert read.reasons == [("line 3", "label is not in classes.txt")]


def test_the_2018_layout_without_classes_keeps_the_label(tmp_path):
    assert [r.label for r in Read(tmp_path, b"1,good\n0,bad\n").records] == ["1", "0"]


def test_the_fields_of_2018_and_several_columns_are_fields_of_one_text(tmp_path):
    read = Read(tmp_path, b"3,title,body\n")
    assert split_fields(read.texts[0]) == ["title", "body"]
    columns = SourceColumns(text=["title", "body"])
    read = Read(tmp_path, b"body,title\nb,t\x1f\n", columns=columns)
    assert split_fields(read.texts[0]) == ["t ", "b"]


def test_a_header_without_the_text_column_is_refused_with_what_was_found(tmp_path):
    with pytest.raises(InputError, match=r"no column 'text'.*'review', 'stars'.*columns.text"):
        Read(tmp_path, b"review,stars\ngood,5\n")
    with pytest.raises(InputError, match="no column 'body'"):
        Read(tmp_path, b"text,stars\ngood,5\n", columns=SourceColumns(text=["text", "body"], layout="named"))


def test_a_fold_is_read_as_it_is_written_where_a_column_is_named(tmp_path):
    columns = SourceColumns(fold="part")
    data = b"part,text,label\n 3 ,one,a\n,two,b\nx,three,a\n"
    assert [r.fold for r in Read(tmp_path, data, columns=columns).records] == ["3", "", "x"]
    assert [r.fold for r in Read(tmp_path, data).records] == ["", "", ""]
    data = b'{"text": "one", "part": 3}\n{"text": "two"}\n{"text": "three", "part": 1.5}\n'
    assert [r.fold for r in Read(tmp_path, data, "jsonl", columns).records] == ["3", "", "1.5"]
    pq.write_table(pa.table({"text": ["one", "two"], "part": [0, None], "": ["7", "8"]}), tmp_path / "table")
    assert [r.fold for r in Read(tmp_path, b"", "parquet", columns).records] == ["0", ""]
    assert [r.fold for r in Read(tmp_path, b"", "parquet").records] == ["", ""]


def test_a_table_without_the_fold_column_is_refused(tmp_path):
    columns = SourceColumns(fold="part")
    with pytest.raises(InputError, match=r"no column 'part'.*'text', 'label'.*columns.fold"):
        Read(tmp_path, b"text,label\none,a\n", columns=columns)
    with pytest.raises(InputError, match=r"no column 'part'.*2018 layout.*fold_file"):
        Read(tmp_path, b"0,one\n1,two\n", columns=columns)
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "table")
    with pytest.raises(InputError, match=r"no column 'part'.*columns.fold"):
        Read(tmp_path, b"", "parquet", columns)


def test_words_as_2018_labels_are_taken_when_the_layout_is_said(tmp_path):
    read = Read(tmp_path, b"good,a film\nbad,another\n", columns=SourceColumns(layout="2018"))
    assert [r.label for r in read.records] == ["good", "bad"]


def test_a_row_with_another_number_of_columns_is_set_aside(tmp_path):
    read = Read(tmp_path, b"text,label\none,a\ntwo\nthree,b,c\nfour,d\n\nfive,e\n")
    assert read.texts == ["one", "four", "five"]
    assert read.reasons == [("line 3", "wrong number of columns"), ("line 4", "wrong number of columns")]


def test_broken_utf8_costs_its_row_alone(tmp_path):
    read = Read(tmp_path, b"text,label\none,a\ncaf\xe9,b\nthr\xc3\xa9e,a\n\xed\xa0\x80,a\nfive,\xff\n")
    assert read.texts == ["one", "thrée"]
    assert read.reasons == [(f"line {line}", "broken UTF-8") for line in (3, 5, 6)]


def test_nul_and_odd_characters_are_text(tmp_path):
    text = "a\0b \u202e \u200d \ufeff \U0001f469\u200d\U0001f467"
    assert Read(tmp_path, f"0,{text}\n".encode()).texts == [text]


def test_tabs_part_tsv(tmp_path):
    assert [(r.text, r.label) for r in Read(tmp_path, b"text\tlabel\na,b\tx\n", "tsv").records] == [("a,b", "x")]


def test_json_lines_good_and_bad(tmp_path):
    lines = [
        b'\xef\xbb\xbf{"text": "one", "label": 3, "id": "k", "url": "http://u", "date": "2020"}',
        b"",
        b'{"text": "two", "label": true}',
        b'{"text": 5}',
        b'{"label": "x"}',
        b'{"text": "three"',
        b'["text"]',
        b'{"text": "\xff"}',
        rb'{"text": "\ud800"}',
        b"[" * 100_000,
        b'{"text": ' + b"9" * 5000 + b"}",
        b'{"text": "last"}',
    ]
    read = Read(tmp_path, b"\r\n".join(lines), "jsonl")
    assert [(r.key, r.text, r.label) for r in read.records] == [
        ("k", "one", "3"),
        ("3", "two", "True"),
        ("12", "last", None),
    ]
    assert (read.records[0].url, read.records[0].date) == ("http://u", "2020")
    assert [reason for _, reason in read.reasons] == [
        "no text in column 'text'",
        "no text in column 'text'",
        "not JSON",
        "not a JSON object",
        "broken UTF-8",
        "broken UTF-8",
        "not JSON",
        "not JSON",
    ]


def test_an_endless_json_line_is_passed_over(tmp_path, monkeypatch):
    for module in (lines_module, tables_module):
        monkeypatch.setattr(module, "MAX_RECORD_BYTES", 50)
    read = Read(tmp_path, b'{"text": "' + b"x" * 500 + b'"}\n{"text": "next"}\n', "jsonl")
    assert read.texts == ["next"]
    assert read.reasons == [("line 1", "too large")]


def test_a_text_over_the_limit_is_too_large_whatever_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, "MAX_RECORD_CHARACTERS", 20)
    read = Read(tmp_path, b'{"text": "%s"}\n{"text": "%s"}\n' % (b"x" * 21, ("é" * 20).encode()), "jsonl")
    assert read.texts == ["é" * 20]
    assert read.reasons == [("line 1", "too large")]


@pytest.mark.parametrize("columns", [{"label": ["mood", "size"]}, {"label": ["mood", "size"], "num_labels": 2}])
def test_several_label_columns_are_one_joined_label(tmp_path, columns):
    data = b"text,size,mood\na,1,pos\nb,,neg\nc,2,\nd,,\n"
    read = Read(tmp_path, data, columns=SourceColumns(**columns))
    assert [record.label for record in read.records] == ["pos\x1f1", "neg\x1f", "\x1f2", None]


def test_the_2018_layout_with_several_labels(tmp_path):
    (tmp_path / "classes.txt").write_text("neg\npos\n")
    columns = SourceColumns(num_labels=2)
    read = Read(tmp_path, b"1,0,title,body\n0,7,one,two\n1,2,three\n", columns=columns)
    assert columns.label_names == ["label_1", "label_2"]
    assert [(record.label, split_fields(record.text)) for record in read.records] == [
        ("1\x1f0", ["title", "body"]),
        ("0\x1f7", ["one", "two"]),
    ]
    assert read.reasons == [("line 3", "wrong number of columns")]


def test_parquet_rows(tmp_path):
    rows = {"text": ["one", None, "three"], "label": [1, 2, None], "other": [0.5, 0.5, 0.5]}
    pq.write_table(pa.table(rows), tmp_path / "table")
    read = Read(tmp_path, b"", "parquet")
    assert [(r.key, r.text, r.label) for r in read.records] == [("1", "one", "1"), ("3", "three", None)]
    assert read.reasons == [("row 2", "no text in column 'text'")]


def test_parquet_strings_that_are_not_utf8_cost_their_row(tmp_path):
    raw = pa.array([b"good", b"\xff\xfe"], pa.binary())
    column = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"text": column}), tmp_path / "table")
    read = Read(tmp_path, b"", "parquet")
    assert read.texts == ["good"]
    assert read.reasons == [("row 2", "broken UTF-8")]


def test_parquet_without_the_text_column_is_refused(tmp_path):
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "table")
    with pytest.raises(InputError, match=r"no column 'text'.*'body'"):
        Read(tmp_path, b"", "parquet")
