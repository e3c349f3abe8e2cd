"""Sources: files and folders as documents, and the checks before any work."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ulmfit_dist.corpus.documents import document_id
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.sources import SourceColumns, SourceReader, check_source, read_source, source_spans
from ulmfit_dist.errors import InputError

SAMPLE = Path(__file__).parents[3] / "launch" / "data" / "quickstart"


def read(path, columns=None):
    tally = Tally()
    return list(read_source(path, columns or SourceColumns(), tally)), tally


def test_ids_come_from_file_name_and_key_not_from_the_place(tmp_path):
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "r.csv").write_text("id,text\nx1,one\nx2,two\n")
    first, second = read(tmp_path / "a/r.csv")[0], read(tmp_path / "b/c/r.csv")[0]
    assert first == second
    assert [(d.id, d.source) for d in first] == [(document_id("r.csv", key), f"r.csv#{key}") for key in ("x1", "x2")]


def test_a_text_file_is_one_document(tmp_path):
    (tmp_path / "book.txt.gz").write_bytes(gzip.compress("\ufeffOne.\r\n\r\nTwo.".encode()))
    documents, tally = read(tmp_path / "book.txt.gz")
    assert [(d.text, d.source) for d in documents] == [("One.\r\n\r\nTwo.", "book.txt.gz#book.txt.gz")]
    assert tally.total == 0


def test_a_text_file_with_a_separator_is_several_documents_and_so_in_a_folder(tmp_path):
    columns = SourceColumns(separator="-+")
    (tmp_path / "books").mkdir()
    (tmp_path / "books/a.txt.gz").write_bytes(gzip.compress(b"One.\n---\nTwo.\n"))
    (tmp_path / "books/b.txt").write_text("Three.")
    documents, tally = read(tmp_path / "books/a.txt.gz", columns)
    assert [(d.text, d.source) for d in documents] == [("One.\n", "a.txt.gz#1"), ("Two.\n", "a.txt.gz#3")]
    documents, tally = read(tmp_path / "books", columns)
    assert [d.source for d in documents] == ["books#a.txt.gz:1", "books#a.txt.gz:3", "books#b.txt:1"]
    assert len({d.id for d in documents}) == 3
    assert tally.total == 0


def test_class_named_folders_are_labels_in_a_fixed_order(tmp_path):
    for name in ("pos/10.txt", "neg/2.txt", "neg/deep/1.txt"):
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "films" / name).write_text(f"text of {name}")
    (tmp_path / "films/pos/3.txt").write_bytes(b"caf\xe9")
    documents, tally = read(tmp_path / "films")
    assert [(d.label, d.source) for d in documents] == [
        ("neg", "films#neg/2.txt"),
        ("neg", "films#neg/deep/1.txt"),
        ("pos", "films#pos/10.txt"),
    ]
    assert tally.first.startswith("films, pos/3.txt: broken UTF-8")
    check_source(tmp_path / "films", SourceColumns(), labelled=True)


def test_a_folder_of_data_files_is_read_file_by_file(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/b.jsonl").write_text('{"text": "two"}\n')
    (tmp_path / "corpus/a.csv").write_text("text\none\n")
    (tmp_path / "corpus/c.txt").write_text("three")
    (tmp_path / "corpus/empty.txt").write_text("")
    documents, tally = read(tmp_path / "corpus")
    assert [(d.text, d.source) for d in documents] == [
        ("one", "corpus#a.csv:1"),
        ("two", "corpus#b.jsonl:1"),
        ("three", "corpus#c.txt"),
    ]
    assert dict(tally.counts) == {"unreadable file": 1}


def test_a_cut_gzip_gives_its_whole_rows_and_says_so(tmp_path):
    rows = "".join(f"{number % 2},text number {number}\n" for number in range(5000))
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(rows.encode())[:-300])
    documents, tally = read(tmp_path / "r.csv.gz")
    assert 1000 < len(documents) < 5000
    assert [d.text for d in documents[:-1]] == [f"text number {number}" for number in range(len(documents) - 1)]
    assert dict(tally.counts) == {"damaged or cut file": 1}


def test_bytes_read_reach_the_size(tmp_path):
    (tmp_path / "r.csv").write_text("text\n" + "word word\n" * 20_000)
    (span,) = source_spans(tmp_path / "r.csv", SourceColumns())
    reader = SourceReader(span, "r.csv", SourceColumns(), Tally())
    positions = [reader.bytes_read for _ in reader]
    assert positions == sorted(positions)
    assert 0 < positions[len(positions) // 2] < (tmp_path / "r.csv").stat().st_size
    assert reader.bytes_read == (tmp_path / "r.csv").stat().st_size


@pytest.mark.parametrize(
    ("content", "labelled", "message"),
    [
        (b"text,label\n", False, "is empty.*no record"),
        (b"text\none\ntwo\n", True, "has no labels.*2 documents.*column 'label'.*columns.label"),
        (b"text,label\none,pos\ntwo,pos\n", True, "one class only.*2 documents of class 'pos'"),
        (
            b"text,label\ncaf\xe9,pos\n\xe9t\xe9,neg\n",
            False,
            "no record of .* can be read.*2 broken UTF-8; first.*line 2",
        ),
        (b"body,label\none,pos\n", False, "no column 'text'"),
    ],
)
def test_checks_before_work(tmp_path, content, labelled, message):
    (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        check_source(tmp_path / "data.csv", SourceColumns(), labelled)
    assert caught.value.exit_code == 2
    assert caught.value.do
    assert "data.csv" in str(caught.value)


def test_the_label_scan_reads_beyond_the_first_thousand_rows(tmp_path):
    (tmp_path / "d.csv").write_text("0,same\n" * 3000 + "1,last\n")
    check_source(tmp_path / "d.csv", SourceColumns(), labelled=True)


def test_a_warc_is_not_a_table(tmp_path):
    (tmp_path / "x.warc").write_bytes(b"WARC/1.0\r\n\r\n")
    with pytest.raises(InputError, match=r"web pages \(warc\)"):
        read(tmp_path / "x.warc")


def test_the_sample_data_is_read_whole():
    reviews, bad = read(SAMPLE / "movie_reviews.csv.gz")
    assert (len(reviews), bad.total) == (600, 0)
    assert [d.source.rpartition("#")[2][:3] for d in reviews[:4]] == ["neg", "pos", "neg", "pos"]
    assert 400_000 < sum(len(d.text.split()) for d in reviews) < 500_000
    task, bad = read(SAMPLE / "mr.csv.gz")
    assert Counter(d.label for d in task) == {"negative": 5331, "positive": 5331}
    assert bad.total == 0
    check_source(SAMPLE / "mr.csv.gz", SourceColumns(), labelled=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300) | st.text(max_size=200).map(str.encode),
    name=st.sampled_from(["csv", "jsonl", "txt", "dat"]),
)
def test_hostile_bytes_never_crash_and_every_document_is_unicode(tmp_path, content, name):
    path = tmp_path / f"hostile.{name}"
    path.write_bytes(b"0,first\n" + content if name == "csv" else content)
    try:
        documents, _ = read(path)
    except InputError as error:
        assert error.do  # noqa: PT017
        return
    for document in documents:
        document.text.encode()
        (document.label or "").encode()
