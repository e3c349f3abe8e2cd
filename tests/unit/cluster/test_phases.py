"""Phases without a Ray: what is done is not done again, what is damaged is, and too many losses fail the stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ulmfit_dist.cluster.attempt import Attempt
from ulmfit_dist.cluster.phases import Part, Phase, Receipt, Work, each_document, file_is_whole, run_phase
from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, WorkItem, document_id, work_items, write_documents
from ulmfit_dist.errors import DataError, StoppedError
from ulmfit_dist.events import EventLog, read_events
from ulmfit_dist.files import digest_file, read_json
from ulmfit_dist.stage import StageCall
from ulmfit_dist.training.stop import STOP


def call(folder: Path) -> StageCall[Settings]:
    return StageCall(Settings(), {}, folder, EventLog(folder / "events.jsonl"))


def parts(count: int) -> list[Part]:
    return [Part(index, 10, f"digest-{index}", count) for index in range(count)]


def phase(folder: Path, done: list[int]) -> Phase:
    def work(item: Part, _: Attempt) -> Receipt:
        done.append(item.index)
        path = folder / f"{item.index}.txt"
        path.write_text(f"result {item.index}")
        return {"name": path.name, "xxh3_128": digest_file(path)}

    return Phase("test", folder / "receipts", lambda: work, lambda receipt: file_is_whole(folder, receipt))


def test_a_second_run_does_only_what_is_missing_or_damaged(tmp_path: Path) -> None:
    done: list[int] = []
    first = run_phase(phase(tmp_path, done), parts(4), call(tmp_path), 2)
    assert (done, [receipt["name"] for receipt in first]) == ([0, 1, 2, 3], ["0.txt", "1.txt", "2.txt", "3.txt"])
    (tmp_path / "1.txt").write_text("changed")
    (tmp_path / "receipts" / "00003.json").unlink()
    other = [*parts(4)[:2], Part(2, 10, "another digest", 4), parts(4)[3]]
    again = run_phase(phase(tmp_path, done), other, call(tmp_path), 2)
    assert done[4:] == [1, 2, 3]
    assert [receipt["xxh3_128"] for receipt in again] == [receipt["xxh3_128"] for receipt in first]


def test_a_stop_is_heard_between_two_items_and_keeps_what_is_done(tmp_path: Path) -> None:
    done: list[int] = []
    first = phase(tmp_path, done)

    def stopping() -> Work:
        def work(item: Part, attempt: Attempt) -> Receipt:
            if item.index == 1:
                STOP.request()
            return first.make_work()(item, attempt)

        return work

    try:
        with pytest.raises(StoppedError):
            run_phase(replace(first, make_work=stopping), parts(4), call(tmp_path), 2)
    finally:
        STOP.clear()
    assert done == [0, 1]
    run_phase(first, parts(4), call(tmp_path), 2)
    assert done == [0, 1, 2, 3]


def test_progress_and_throughput_are_events(tmp_path: Path) -> None:
    run_phase(phase(tmp_path, []), parts(2), call(tmp_path), 2)
    events = read_events(tmp_path / "events.jsonl")
    progress = [event for event in events if event["kind"] == "progress"]
    assert (progress[-1]["done"], progress[-1]["total"], progress[-1]["what"]) == (20, 20, "test")
    (finished,) = [event for event in events if event["kind"] == "phase-finished"]
    (node,) = finished["nodes"].values()
    assert (node["items"], node["characters"]) == (2, 20)


def _documents(folder: Path, texts: list[str]) -> list[WorkItem]:
    write_documents(folder, [Document(document_id("d", text), text) for text in texts], 10**6)
    return work_items(folder)


def _setting_aside(aside: dict[int, str], seen: list[str]) -> Phase:
    def work(item: WorkItem, attempt: Attempt) -> Receipt:
        attempt.set_aside.update(aside)
        named = each_document(item, attempt, lambda batch: seen.extend(document.text for document in batch))
        return {"aside": named}

    return Phase("test", Path(seen[0]) / "receipts", lambda: work, lambda _: True)


def test_documents_set_aside_are_left_out_named_and_counted(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(200)]
    items, seen = _documents(tmp_path / "d", texts), [str(tmp_path)]
    (receipt,) = run_phase(_setting_aside({7: "it kills"}, seen), items, call(tmp_path), 1)
    assert seen[1:] == texts[:7] + texts[8:]
    assert receipt["aside"] == {document_id("d", "text 7"): "it kills"}
    assert read_json(tmp_path / "receipts" / "00000.json")["set_aside"] == 1
    (event,) = [e for e in read_events(tmp_path / "events.jsonl") if e["kind"] == "document-quarantined"]
    assert (event["position"], event["reason"]) == (7, "it kills")


def test_more_than_one_in_a_hundred_set_aside_fails_the_stage(tmp_path: Path) -> None:
    items = _documents(tmp_path / "d", [f"text {number}" for number in range(200)])
    phase = _setting_aside({1: "a", 2: "b", 3: "c"}, [str(tmp_path)])
    with pytest.raises(DataError, match=r"too much.*0 of 1 work items and 3 single documents.*events.jsonl"):
        run_phase(phase, items, call(tmp_path), 1)
