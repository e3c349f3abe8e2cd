"""Ingest end to end on small sources: every record is accounted for, twice the same, wherever it lies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ulmfit_dist.corpus.documents import read_documents, read_manifest, verify_documents
from ulmfit_dist.corpus.leakage import find_leaks
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl.ingest import IngestSettings, Source, check_ingest_source, check_inputs, ingest
from ulmfit_dist.crawl.splits import split_of
from ulmfit_dist.errors import DataError, InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall

HALVES = {"train": 0.5, "valid": 0.5}
SAMPLE = Path(__file__).parents[3] / "launch" / "data" / "quickstart"


class Progress(Silent):
    def __init__(self):
        self.seen = []

    def progress(self, done, total, **metrics):
        self.seen.append((done, total, metrics["documents"]))


def run(out, sources, reporter=None, **settings):
    settings = IngestSettings(sources=sources, **settings)
    return ingest(StageCall(settings, {}, out, reporter or Silent()))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def rows(count, start=0):
    return "".join(f"{n % 2},review number {n} of many\n" for n in range(start, start + count))


def all_documents(out):
    return [d for folder in sorted(out.glob("*/manifest.json")) for d in read_documents(folder.parent, None)]


def test_every_record_is_a_row_or_in_quarantine(tmp_path, warc):
    table = write(
        tmp_path / "r.csv",
        "text,id\n" + "".join(f"a text that is number {n},{n}\n" for n in range(200)).replace("number 7,", "number 8,")
        + "twice,5\n \x07 ,e1\none,two,three\n",
    )  # fmt: skip
    texts = [warc.english + str(n) for n in range(3)] + ["too short", warc.english + "0"]
    crawl = write(tmp_path / "c.warc.gz", warc.packed(warc.pages(texts)))
    progress = Progress()
    out = tmp_path / "out"
    summary = run(out, [table, crawl], progress, quarantine_share=0.02, splits=HALVES)
    assert summary["records"] == 203 + 5
    assert summary["quarantined"] == {"record key used twice": 1, "wrong number of columns": 1}
    assert summary["decisions"] == {"drop": {"duplicate": 2, "empty": 1, "too_short": 1}, "keep": {"": 202}}
    assert summary["sources"] == {
        "r.csv": {"rows": 201, "kept": 199, "quarantined": 2, "skipped": {}},
        "c.warc.gz": {"rows": 5, "kept": 3, "quarantined": 0, "skipped": {}},
    }
    quarantine = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert [(row["position"], row["reason"]) for row in quarantine] == [
        ("line 204", "wrong number of columns"),
        ("5", "record key used twice"),
    ] or [row["reason"] for row in quarantine] == ["record key used twice", "wrong number of columns"]
    documents = all_documents(out)
    assert len(documents) == len({d.id for d in documents}) == 206
    assert Counter((d.decision, d.reason) for d in documents) == {
        ("keep", ""): 202, ("drop", "duplicate"): 2, ("drop", "empty"): 1, ("drop", "too_short"): 1,
    }  # fmt: skip
    assert sum(summary["documents"].values()) == sum(read_manifest(out / split).kept for split in HALVES) == 202
    assert summary["characters"] == {split: read_manifest(out / split).characters for split in HALVES}
    assert sum(sum(counts.values()) for counts in summary["languages"].values()) == 3
    assert all(verify_documents(out / split) == [] for split in HALVES)
    size = Path(table).stat().st_size + Path(crawl).stat().st_size
    assert progress.seen[-1] == (size, size, 206)
    assert [done for done, _, _ in progress.seen] == sorted(done for done, _, _ in progress.seen)
    json.dumps(summary)


def test_equal_input_gives_equal_files_in_another_process_place_and_locale(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ulmfit_dist.crawl.ingest import IngestSettings, ingest\n"
        "from ulmfit_dist.events import Silent\n"
        "from ulmfit_dist.stage import StageCall\n"
        "s = IngestSettings(sources=['r.csv', 'folder'], splits={'train': .5, 'valid': .5},"
        " item_characters=500)\n"
        "print(ingest(StageCall(s, {}, Path(sys.argv[1]), Silent())))\n"
    )
    found, summaries = [], set()
    for place, seed, locale in (("one", "1", "C"), ("two/deeper", "77", "C.UTF-8")):
        here = tmp_path / place
        write(here / "r.csv", "text\n" + "".join(f"ein Text für Nummer {n}\n" for n in range(80)))
        for name in "cab":
            write(here / f"folder/{name}.txt", f"the file {name}")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "PYTHONPATH": str(Path.cwd())}
        command = [sys.executable, "-c", code, "out"]
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=True)
        summaries.add(done.stdout)
        found.append(
            {str(p.relative_to(here)): p.read_bytes() for p in sorted((here / "out").rglob("*")) if p.is_file()}
        )
    assert found[0] == found[1]
    assert len(summaries) == 1
    assert len(found[0]) == 5


def test_more_text_does_not_move_a_document_to_another_split(tmp_path):
    run(tmp_path / "a", [write(tmp_path / "few/r.csv", rows(60))], splits=HALVES)
    run(tmp_path / "b", [write(tmp_path / "many/r.csv", rows(40, 60) + rows(60))], splits=HALVES)

    def split(out):
        return {d.text: name for name in HALVES for d in read_documents(out / name)}

    few, many = split(tmp_path / "a"), split(tmp_path / "b")
    assert len(many) == 100
    assert {text: many[text] for text in few} == few
    assert all(split_of(text, HALVES, 0) == name for text, name in many.items())


def test_splits_by_hash_do_not_leak_equal_texts(tmp_path):
    lines = [f"{n % 2},{text}\n" for n, text in enumerate([f"This is film {k}." for k in range(100)] * 2)]
    lines += [f"0,THIS IS film {k}!\n" for k in range(100)]
    run(tmp_path / "out", [write(tmp_path / "r.csv", "".join(lines))], splits=HALVES)
    valid, train = (list(read_documents(tmp_path / "out" / name)) for name in ("valid", "train"))
    assert len(valid) + len(train) == 200
    assert find_leaks(valid, train, "train") == []


def test_official_splits_are_taken_as_they_are(tmp_path):
    write(tmp_path / "train.csv", rows(80))
    write(tmp_path / "test.csv", rows(3) + rows(3))
    sources = [str(tmp_path / "train.csv"), Source(path=str(tmp_path / "test.csv"), split="test")]
    summary = run(tmp_path / "out", sources, labelled=True, splits={"train": 0.7, "valid": 0.3})
    assert summary["documents"]["test"] == 6
    assert sum(summary["documents"].values()) == 86
    assert summary["labels"]["test"] == {"0": 4, "1": 2}
    test, train = (list(read_documents(tmp_path / "out" / name)) for name in ("test", "train"))
    planted = {d.id for d in test if d.text in {other.text for other in train}}
    assert planted
    assert {leak.test_id for leak in find_leaks(test, train, "train")} == planted


def test_an_unlabelled_ingest_keeps_no_labels(tmp_path):
    run(tmp_path / "out", [write(tmp_path / "r.csv", rows(60))], splits={"train": 1.0})
    assert {d.label for d in all_documents(tmp_path / "out")} == {None}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["quarantine.jsonl", "train"]


def test_languages_are_asked_of_a_crawl_alone(tmp_path, warc):
    german = (
        "Das Museum öffnete im Frühling jenes Jahres seine Türen, und die Menschen der Stadt kamen in Scharen. " * 3
    )
    crawl = write(tmp_path / "c.warc", b"".join(warc.pages([warc.english, german])))
    table = write(tmp_path / "r.csv", f'text\n"{german.strip()}"\n')
    summary = run(tmp_path / "out", [crawl, table], languages=["eng"], splits={"train": 1.0})
    documents = all_documents(tmp_path / "out")
    assert [(d.source.partition("#")[0], d.lang, d.decision, d.reason) for d in documents] == [
        ("c.warc", "en", "keep", ""),
        ("c.warc", "de", "drop", "language"),
        ("r.csv", "", "keep", ""),
    ]
    assert documents[0].url == "http://example.org/0"
    assert documents[0].lang_score > 0.9
    run(tmp_path / "again", [crawl, table], languages=["eng"], splits={"train": 1.0})
    for file in ("train/manifest.json", "train/part-00000.parquet"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
    assert summary["languages"] == {"train": {"en": 1}}


def test_at_most_so_many_documents_of_each_source(tmp_path):
    sources = [write(tmp_path / "a.csv", rows(50)), write(tmp_path / "b.csv", rows(50, 50))]
    assert run(tmp_path / "out", sources, splits={"train": 1.0}, max_documents=3)["documents"] == {"train": 6}


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


def test_labels_lost_to_duplicates_fail_after_work(tmp_path):
    # Class 1 stands only in texts that class 0 had before: the scan sees it, what is kept does not.
    texts = [f"film {n}" for n in range(60)]
    source = write(tmp_path / "r.csv", "".join(f"{c},{t}\n" for c in (0, 1) for t in texts))
    with pytest.raises(DataError, match="one class only"):
        run(tmp_path / "out", [source], labelled=True, splits=HALVES)


def test_too_much_quarantine_fails_with_the_file_left_to_read(tmp_path):
    source = write(tmp_path / "r.csv", rows(50).encode() + b"0,caf\xe9\n1,\xff\n")
    with pytest.raises(DataError, match=r"more than 1.00%.*2 of 52: 2 broken UTF-8.*quarantine.jsonl"):
        run(tmp_path / "out", [source])
    assert len((tmp_path / "out/quarantine.jsonl").read_text().splitlines()) == 2
    assert not list((tmp_path / "out").glob("*/manifest.json"))
    assert run(tmp_path / "again", [source], quarantine_share=0.05)["quarantined"] == {"broken UTF-8": 2}


def test_a_split_without_documents_fails(tmp_path):
    source = write(tmp_path / "r.csv", "text\nthe only one\n")
    with pytest.raises(DataError, match="no document was kept in split"):
        run(tmp_path / "out", [source], splits=HALVES)


def test_one_source_is_checked_as_a_crawl_or_a_table(tmp_path, warc):
    crawl = Path(write(tmp_path / "c.warc", b"".join(warc.pages(["x"]))))
    assert check_ingest_source(crawl, SourceColumns(), labelled=False)
    with pytest.raises(InputError, match="has no labels"):
        check_ingest_source(crawl, SourceColumns(), labelled=True)
    assert not check_ingest_source(SAMPLE / "mr.csv.gz", SourceColumns(), labelled=True)


def test_the_sample_data(tmp_path):
    sources = [str(SAMPLE / "movie_reviews.csv.gz"), str(SAMPLE / "sample.warc.gz")]
    summary = run(tmp_path / "lm", sources, languages=["en"])
    assert summary["sources"]["movie_reviews.csv.gz"]["kept"] == 600
    assert summary["sources"]["sample.warc.gz"]["kept"] >= 18
    assert summary["quarantined"] == {}
    task = run(
        tmp_path / "task", [str(SAMPLE / "mr.csv.gz")], labelled=True, splits={"train": 0.8, "valid": 0.1, "test": 0.1}
    )
    assert sum(task["documents"].values()) == 10_662
    assert all(counts.keys() == {"negative", "positive"} for counts in task["labels"].values())
