"""Checks before any work: a source or labels that cannot do are refused, and nothing is written."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl.checks import check_ingest_source, check_inputs
from ulmfit_dist.crawl.extract import main_content
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings, Source
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall

HALVES = {"train": 0.5, "valid": 0.5}
SAMPLE = Path(__file__).parents[3] / "launch" / "data" / "quickstart"


def run(out, sources, **settings):
    return ingest(StageCall(IngestSettings(sources=sources, **settings), {}, out, Silent()))


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def rows(count):
    return "".join(f"{n % 2},review number {n} of many\n" for n in range(count))


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (b"", {}, "is empty"),
        (b"text\nx\n", {"labelled": True}, "has no labels"),
        (b"0,x\n0,y\n", {"labelled": True}, "one class only"),
        (("0,x\n" + "1,only one of this class\n" + rows(40).replace("1,", "0,")).encode(),
         {"labelled": True, "splits": HALVES}, "misses a class.*no document of '[01]'"),
        (b"WARC/1.0\r\n\r\n", {"labelled": True}, "has no labels.*crawl"),
    ],
)  # fmt: skip
def test_bad_input_is_found_before_work(tmp_path, content, settings, message):
    source = write(tmp_path / "r.csv", content)
    with pytest.raises(InputError, match=message):
        check_inputs(IngestSettings(sources=[source], **settings), {})
    with pytest.raises(InputError, match=message):
        run(tmp_path / "out", [source], **settings)
    assert not (tmp_path / "out").exists()


def test_a_label_of_the_test_set_that_training_lacks(tmp_path):
    train, test = write(tmp_path / "train.csv", rows(30)), write(tmp_path / "test.csv", "2,a new thing\n" + rows(5))
    sources = [Source(path=train, split="train"), Source(path=test, split="test")]
    with pytest.raises(InputError, match=r"'test' has labels unseen in training; found: '2'; training has '0', '1'"):
        check_inputs(IngestSettings(sources=sources, labelled=True), {})


def test_values_need_not_be_in_every_split(tmp_path):
    source = write(tmp_path / "values.csv", "label,text\n" + "".join(f"{n / 7},review number {n}\n" for n in range(40)))
    settings = {"sources": [source], "labelled": True, "splits": HALVES}
    with pytest.raises(InputError, match="unseen in training"):
        check_inputs(IngestSettings(**settings), {})
    check_inputs(IngestSettings(**settings, classes=False), {})


def test_one_source_is_checked_as_a_crawl_or_a_table(tmp_path, warc):
    crawl = Path(write(tmp_path / "c.warc", b"".join(warc.pages(["x"]))))
    assert check_ingest_source(crawl, SourceColumns(), labelled=False)
    with pytest.raises(InputError, match="has no labels"):
        check_ingest_source(crawl, SourceColumns(), labelled=True)
    assert not check_ingest_source(SAMPLE / "mr.csv.gz", SourceColumns(), labelled=True)


def test_a_crawl_whose_extractor_is_missing_is_refused_before_work(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    main_content.cache_clear()
    crawl, table = write(tmp_path / "c.warc", b"WARC/1.0\r\n\r\n"), write(tmp_path / "r.csv", rows(10))
    chosen = {"crawl": {"extractor": "trafilatura"}}
    with pytest.raises(InputError, match="trafilatura is not installed"):
        run(tmp_path / "out", [table, crawl], **chosen)
    assert not (tmp_path / "out").exists()
    # Documents that are no pages need none.
    check_inputs(IngestSettings(sources=[table], **chosen), {})
