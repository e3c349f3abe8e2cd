"""Ingest end to end on small sources: every record is accounted for, twice the same, wherever it lies."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fsspec
import pytest

from ulmfit_dist.corpus.documents import read_documents, read_labels, read_manifest, verify_documents
from ulmfit_dist.corpus.leakage import find_leaks
from ulmfit_dist.crawl import pieces as pieces_module
from ulmfit_dist.crawl.candidates import PieceReader, Unguarded
from ulmfit_dist.crawl.cleaning import PieceCleaner
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings, Source
from ulmfit_dist.crawl.sites import site_of
from ulmfit_dist.crawl.splits import split_of
from ulmfit_dist.errors import DataError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall

HALVES = {"train": 0.5, "valid": 0.5}
# Pages are read, decoded and told by language, and nothing else is asked of them.
AS_THEY_ARE = {"quality": False, "near_duplicate_similarity": 0, "split_by": "text"}
SAMPLE = Path(__file__).parents[3] / "launch" / "data" / "quickstart"


class Progress(Silent):
    def __init__(self):
        self.seen = []

    def progress(self, done, total, **metrics):
        self.seen.append((metrics["what"], done, total))


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
    summary = run(out, [table, crawl], progress, quarantine_share=0.02, splits=HALVES, crawl=AS_THEY_ARE)
    assert summary["records"] == 203 + 5
    assert summary["quarantined"] == {"record key used twice": 1, "wrong number of columns": 1}
    assert summary["decisions"] == {"drop": {"duplicate": 2, "empty": 1, "too_short": 1}, "keep": {"": 202}}
    assert summary["sources"] == {
        "r.csv": {"rows": 201, "kept": 199, "quarantined": 2, "skipped": {}},
        "c.warc.gz": {"rows": 5, "kept": 3, "quarantined": 0, "skipped": {}},
    }
    quarantine = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert [(row["position"], row["reason"]) for row in quarantine] == [
        ("5", "record key used twice"),
        ("line 204", "wrong number of columns"),
    ]
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
    read = [(done, total) for what, done, total in progress.seen if what == "read"]
    assert read == sorted(read)
    assert read[-1] == (size, size)
    assert 0 < read[100][0] < size
    assert progress.seen[-1][0] == "write"
    assert progress.seen[-1][1] == progress.seen[-1][2]
    json.dumps(summary)


def test_equal_input_gives_equal_files_in_another_process_place_and_locale(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ulmfit_dist.crawl.ingest import ingest\n"
        "from ulmfit_dist.crawl.settings import IngestSettings\n"
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
    summary = run(tmp_path / "out", [crawl, table], languages=["eng"], splits={"train": 1.0}, crawl=AS_THEY_ARE)
    documents = all_documents(tmp_path / "out")
    assert [(d.source.partition("#")[0], d.lang, d.decision, d.reason) for d in documents] == [
        ("c.warc", "en", "keep", ""),
        ("c.warc", "de", "drop", "language"),
        ("r.csv", "", "keep", ""),
    ]
    assert documents[0].url == "http://example.org/0"
    assert documents[0].lang_score > 0.9
    run(tmp_path / "again", [crawl, table], languages=["eng"], splits={"train": 1.0}, crawl=AS_THEY_ARE)
    for file in ("train/manifest.json", "train/part-00000.parquet"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
    assert summary["languages"] == {"train": {"en": 1}}


def test_at_most_so_many_documents_of_each_source(tmp_path):
    sources = [write(tmp_path / "a.csv", rows(50)), write(tmp_path / "b.csv", rows(50, 50))]
    assert run(tmp_path / "out", sources, splits={"train": 1.0}, max_documents=3)["documents"] == {"train": 6}


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


def test_the_sample_data(tmp_path):
    sources = [str(SAMPLE / "movie_reviews.csv.gz"), str(SAMPLE / "sample.warc.gz")]
    summary = run(tmp_path / "lm", sources, languages=["en"])
    assert summary["sources"]["movie_reviews.csv.gz"]["kept"] == 600
    assert summary["sources"]["sample.warc.gz"]["kept"] >= 15
    assert summary["quarantined"] == {}
    task = run(
        tmp_path / "task", [str(SAMPLE / "mr.csv.gz")], labelled=True, splits={"train": 0.8, "valid": 0.1, "test": 0.1}
    )
    assert sum(task["documents"].values()) == 10_662
    assert all(counts.keys() == {"negative", "positive"} for counts in task["labels"].values())


def tree(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture
def cut_small(monkeypatch):
    """Pieces of a few kilobytes."""
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 3000)


def many_sources(tmp_path):
    """JSON lines that are cut, with bad ones and duplicates of all kinds, a folder, and a table."""
    lines = [{"text": f"text {n % 700}", "id": f"k{n % 900}"} if n % 90 else {"bad": n} for n in range(1000)]
    jsonl = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    for n in range(40):
        write(tmp_path / f"folder/{n:02d}.txt", f"text {n}" if n % 2 else f"a text of its own {n} " * 20)
    table = write(tmp_path / "t.csv", "text\n" + "".join(f"text {n}\n" for n in range(650, 1100)))
    return [jsonl, str(tmp_path / "folder"), table]


def test_how_the_sources_are_cut_does_not_show_in_the_result(tmp_path, monkeypatch):
    sources = many_sources(tmp_path)
    settings = {"splits": HALVES, "quarantine_share": 1.0, "item_characters": 2000}
    summaries = []
    for size in (1 << 30, 3000):
        monkeypatch.setattr(pieces_module, "PIECE_BYTES", size)
        summaries.append(run(tmp_path / f"out-{size}", sources, **settings))
    assert summaries[0] == summaries[1]
    assert tree(tmp_path / f"out-{1 << 30}") == tree(tmp_path / "out-3000")
    assert summaries[0]["quarantined"] == {"no text in column 'text'": 12, "record key used twice": 98}
    assert summaries[0]["decisions"]["drop"]["duplicate"] > 100


def test_the_first_text_in_the_order_of_the_sources_stays(tmp_path, cut_small):
    sources = many_sources(tmp_path)
    run(tmp_path / "out", sources, splits={"train": 1.0}, quarantine_share=1.0)
    found = {d.source: d for d in all_documents(tmp_path / "out")}
    assert (found["a.jsonl#k5"].decision, found["folder#05.txt"].reason) == ("keep", "duplicate")
    assert (found["t.csv#1"].text, found["t.csv#1"].reason) == ("text 650", "duplicate")
    assert (found["t.csv#51"].text, found["t.csv#51"].decision) == ("text 700", "keep")
    run(tmp_path / "turned", sources[::-1], splits={"train": 1.0}, quarantine_share=1.0)
    found = {d.source: d for d in all_documents(tmp_path / "turned")}
    assert found["t.csv#1"].decision == "keep"


@pytest.mark.parametrize("kept", [1, 12])
def test_a_stopped_ingest_continues_where_it_was(tmp_path, cut_small, kept):
    sources = many_sources(tmp_path)
    settings = IngestSettings(sources=sources, splits=HALVES, quarantine_share=1.0, item_characters=2000)
    whole, out = tmp_path / "whole", tmp_path / "out"
    expected = ingest(StageCall(settings, {}, whole, Silent()))
    left, done = kept, []

    def stopping(make, items, what):
        nonlocal left
        work = make(lambda _: None)
        for item in items:
            if not left:
                raise KeyboardInterrupt
            work(item, Unguarded())
            left -= 1
        return {}

    with pytest.raises(KeyboardInterrupt):
        ingest(StageCall(settings, {}, out, Silent()), stopping)
    left = -1
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.rows")}

    def going_on(make, items, what):
        done.extend((what, item.index) for item in items)
        return stopping(make, items, what)

    assert ingest(StageCall(settings, {}, out, Silent()), going_on) == expected
    assert tree(out) == tree(whole)
    read_again = [index for what, index in done if what == "read"]
    assert not {f"{index:05d}.rows" for index in read_again} & {path.name for path in before}


def test_a_piece_that_is_given_up_is_in_quarantine_and_past_the_share_fails(tmp_path, cut_small):
    source = write(tmp_path / "a.jsonl", "".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(999)))

    def losing(make, items, what):
        work = make(lambda _: None)
        for item in items:
            if what != "read" or item.index != 1:
                work(item, Unguarded())
        return {1: "the worker process died"} if what == "read" else {}

    settings = IngestSettings(sources=[source], splits=HALVES, quarantine_share=0.5)
    summary = ingest(StageCall(settings, {}, tmp_path / "out", Silent()), losing)
    assert summary["quarantined"]["reading failed: the worker process died"] == 1
    records = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    (lost,) = [record for record in records if record["reason"].startswith("reading failed")]
    assert lost["source"] == "a.jsonl"
    assert lost["position"].startswith("a.jsonl, from 3000 to 6000")
    settings = settings.model_copy(update={"quarantine_share": 0.1})
    with pytest.raises(DataError, match="10.00% of the bytes.*1 reading failed"):
        ingest(StageCall(settings, {}, tmp_path / "again", Silent()), losing)


def test_urls_give_what_files_give(tmp_path, cut_small):
    sources = many_sources(tmp_path)
    system = fsspec.filesystem("memory")
    for path in [tmp_path / "a.jsonl", tmp_path / "t.csv", *(tmp_path / "folder").iterdir()]:
        system.pipe({f"/ingest/{path.relative_to(tmp_path)}": path.read_bytes()})
    urls = [f"memory://ingest/{Path(source).relative_to(tmp_path)}" for source in sources]
    settings = {"splits": HALVES, "quarantine_share": 1.0}
    assert run(tmp_path / "files", sources, **settings) == run(tmp_path / "urls", urls, **settings)
    assert tree(tmp_path / "files") == tree(tmp_path / "urls")


def test_several_labels_are_named_in_the_documents(tmp_path):
    source = write(tmp_path / "r.csv", "text,mood,size\n" + "".join(f"t {n},{n % 2},{n % 3}\n" for n in range(60)))
    columns = {"label": ["mood", "size"]}
    summary = run(tmp_path / "out", [source], labelled=True, columns=columns, splits={"train": 1.0})
    assert read_manifest(tmp_path / "out/train").label_names == ["mood", "size"]
    assert {row[1:] for row in read_labels(tmp_path / "out/train")} == {
        (str(a), str(b)) for a in range(2) for b in range(3)
    }
    assert len(summary["labels"]["train"]) == 6


def crawl_of(warc, tmp_path, files=3, pages=40):
    """Crawl files of several sites, with planted near-duplicates over files and a line on every page of a site."""
    rng = random.Random(9)
    ends = [f"{b}{c}" for b in ("ta", "no", "vi") for c in ("ble", "n", "rk", "s")]
    words = [f"{start}{end}" for start in ("sto", "ri", "la", "men") for end in ends]
    paths, number = [], 0
    first = " ".join(rng.choices(words, k=150))
    for file in range(files):
        records = []
        for page in range(pages):
            text = (
                f"{first} added{chr(97 + file)}{chr(97 + page // 10)}"
                if page % 10 == 0
                else " ".join(rng.choices(words, k=80 + page))
            )
            body = warc.html(f"{warc.english} {text}.</p><p>All rights reserved {page}.")
            records.append(warc.record("response", number, warc.response(body), uri=f"http://s{page % 5}.org/{number}"))
            number += 1
        paths.append(write(tmp_path / f"{file}.warc.gz", warc.packed(records)))
    return paths


def reasons(out):
    return Counter(d.reason for d in all_documents(out))


def test_near_duplicates_of_all_files_are_one_document(tmp_path, warc):
    sources = crawl_of(warc, tmp_path)
    summary = run(tmp_path / "out", sources, splits=HALVES)
    documents = all_documents(tmp_path / "out")
    planted = [d for d in documents if " added" in d.text]
    (kept,) = [d for d in planted if d.decision == "keep"]
    assert (kept.cluster_size, kept.cluster) == (len(planted), kept.id) == (12, kept.id)
    assert {d.cluster for d in planted} == {kept.id}
    assert len(kept.text) == max(len(d.text) for d in planted)
    assert kept.id == min(d.id for d in planted if len(d.text) == len(kept.text))
    assert reasons(tmp_path / "out")["near_duplicate"] == 11
    assert summary["crawl"]["counts"]["boilerplate_lines"] == 120
    assert not any("rights reserved" in d.text for d in documents)
    assert summary["crawl"]["languages"]["en"][""] == summary["documents"]["train"] + summary["documents"]["valid"]
    sites = {name: {site_of(d.url) for d in read_documents(tmp_path / "out" / name)} for name in HALVES}
    assert not sites["train"] & sites["valid"]


def test_another_threshold_reads_no_source_again(tmp_path, warc, monkeypatch):
    sources = crawl_of(warc, tmp_path)
    kept = str(tmp_path / "kept")
    run(tmp_path / "first", sources, splits=HALVES, reuse=kept)
    changed = {"thresholds": {"default": {"min_words": 150}}}
    expected = run(tmp_path / "fresh", sources, splits=HALVES, crawl=changed)

    def refused(*_):
        raise AssertionError("a source is read, or a page cleaned, again")

    monkeypatch.setattr(PieceReader, "read", refused)
    with monkeypatch.context() as patch:
        patch.setattr(PieceCleaner, "clean", refused)
        assert run(tmp_path / "second", sources, splits=HALVES, crawl=changed, reuse=kept) == expected
    assert tree(tmp_path / "second") == tree(tmp_path / "fresh")
    assert reasons(tmp_path / "second")["min_words"] > reasons(tmp_path / "first")["min_words"] == 0
    # Without boilerplate pages are cleaned again, and still not read.
    run(tmp_path / "third", sources, splits=HALVES, crawl={"boilerplate_pages": 0}, reuse=kept)
    assert any("rights reserved" in d.text for d in all_documents(tmp_path / "third"))


def test_a_changed_source_is_read_again(tmp_path, warc):
    sources = crawl_of(warc, tmp_path)
    kept = str(tmp_path / "kept")
    run(tmp_path / "first", sources, splits={"train": 1.0}, reuse=kept)
    write(Path(sources[0]), warc.packed(warc.pages([warc.english * 2])))
    again = run(tmp_path / "second", sources, splits={"train": 1.0}, reuse=kept)
    assert again["records"] == 81


@pytest.mark.parametrize("kept", [4, 20])
def test_a_stopped_crawl_continues_where_it_was(tmp_path, warc, kept):
    sources = crawl_of(warc, tmp_path)
    settings = IngestSettings(sources=sources, splits=HALVES, item_characters=20_000)
    expected = ingest(StageCall(settings, {}, tmp_path / "whole", Silent()))
    left = kept

    def stopping(make, items, what):
        nonlocal left
        work = make(lambda _: None)
        for item in reversed(items):
            if not left:
                raise KeyboardInterrupt
            work(item, Unguarded())
            left -= 1
        return {}

    with pytest.raises(KeyboardInterrupt):
        ingest(StageCall(settings, {}, tmp_path / "out", Silent()), stopping)
    left = -1
    assert ingest(StageCall(settings, {}, tmp_path / "out", Silent()), stopping) == expected
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("step", ["clean", "compare", "survey"])
def test_a_step_that_cannot_be_done_fails_with_its_cause(tmp_path, warc, step):
    settings = IngestSettings(sources=crawl_of(warc, tmp_path, 1, 12), splits=HALVES)

    def losing(make, items, what):
        if what == step:
            return {0: "the worker process died"}
        work = make(lambda _: None)
        for item in items:
            work(item, Unguarded())
        return {}

    with pytest.raises(DataError, match="the worker process died"):
        ingest(StageCall(settings, {}, tmp_path / "out", Silent()), losing)
