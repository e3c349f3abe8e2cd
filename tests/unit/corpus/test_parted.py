"""Plain text with a separator: each document once, whole, however the file is cut into ranges."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ulmfit_dist.corpus import parted as parted_module
from ulmfit_dist.corpus.compression import OpenedFile
from ulmfit_dist.corpus.parted import PartedReader


def read(path, data, separator, *, start=0, stop=None):
    """Records of a range as (key, position, text), and what was set aside without its sample."""
    path.write_bytes(data)
    bad = []
    with OpenedFile(path, start, stop) as file:
        before = data[:start].count(b"\n")
        records = list(PartedReader(file, before, separator, lambda *one: bad.append(one[:2])))
    return [(record.key, record.position, record.text) for record in records], bad


def test_a_line_with_a_record_separator_opens_an_article_and_one_with_its_source_ends_it(tmp_path):
    data = "\x1e data/1.txt\nข่าว\nหนึ่ง\n\nที่มา : https://a/1\n\x1e data/2.txt\nสอง ที่มา : https://b\nที่มา : https://a/2\n"
    records, bad = read(tmp_path / "x", data.encode(), r"\x1e.*|ที่มา : \S+")
    assert records == [("2", "line 2", "ข่าว\nหนึ่ง\n\n"), ("7", "line 7", "สอง ที่มา : https://b\n")]
    assert bad == []


def test_the_first_document_needs_no_separator_and_windows_line_ends_are_none_of_its_text(tmp_path):
    data = b"\xef\xbb\xbf--\r\none\r\n--\r\ntwo -- three\r\n---\r\n--"
    assert read(tmp_path / "x", data, "--")[0] == [
        ("2", "line 2", "one\r\n"),
        ("4", "line 4", "two -- three\r\n---\r\n"),
    ]
    assert read(tmp_path / "x", b"\xef\xbb\xbfone\n\n\ntwo", r"\s*")[0] == [
        ("1", "line 1", "one\n"),
        ("4", "line 4", "two"),
    ]


def test_without_a_line_that_matches_the_file_is_one_document(tmp_path):
    assert read(tmp_path / "x", b"a\nb--\n", "--") == ([("1", "line 1", "a\nb--\n")], [])


def test_a_document_that_cannot_be_text_costs_itself(tmp_path, monkeypatch):
    data = b"caf\xe9\n--\nfine\n--\n" + b"x\n" * 60 + b"--\nlast\xff--"
    records, bad = read(tmp_path / "x", data, "--")
    assert [key for key, *_ in records] == ["3", "5"]
    assert bad == [("line 1", "broken UTF-8"), ("line 66", "broken UTF-8")]
    monkeypatch.setattr(parted_module, "MAX_RECORD_BYTES", 100)
    records, bad = read(tmp_path / "x", data.replace(b"\xe9", b"e"), "--")
    assert [key for key, *_ in records] == ["1", "3"]
    assert bad == [("line 5", "too large"), ("line 66", "broken UTF-8")]


def test_the_mark_between_fields_is_not_read_out_of_a_text(tmp_path):
    assert read(tmp_path / "x", b"one\x1ftwo", "--")[0] == [("1", "line 1", "one two")]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.sampled_from(["--\n", "a\n", "é b\n", "\n", "c--\n"]), max_size=12),
    end=st.sampled_from(["", "--", "d"]),
    cuts=st.sets(st.integers(1, 30)),
)
def test_any_cut_gives_what_the_whole_file_is(tmp_path, lines, end, cuts):
    text = "".join(lines) + end
    data = text.encode()
    starts = [0, *sorted(cut for cut in cuts if cut < len(data))]
    found = []
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        some, bad = read(tmp_path / "x", data, "--", start=start, stop=stop)
        found += some
        assert not bad
    expected = [part for part in re.split(r"(?m)^--(?:\n|\Z)", text) if part.strip()]
    assert [record[2] for record in found] == expected
    assert all(text.splitlines(keepends=True)[int(key) - 1] in own for key, _, own in found)


@pytest.mark.parametrize("separator", ["--", r"\s*"])
def test_an_empty_file_holds_nothing(tmp_path, separator):
    assert read(tmp_path / "x", b"\n\n", separator) == ([], [])
