"""Event files: whole lines, from many processes at once, torn ones left out."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from ulmfit_dist.events import EventLog, read_events


def _write(path: Path, who: int) -> None:
    log = EventLog(path)
    for i in range(200):
        log.event("tick", who=who, i=i, filler="x" * 200)


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(path, who)) for who in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    events = read_events(path)
    assert len(events) == 600
    for who in range(3):
        assert [event["i"] for event in events if event["who"] == who] == list(range(200))


def test_progress_is_thinned_but_the_last_one_always_comes(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for done in range(1, 1001):
        log.progress(done, 1000, loss=1.0)
    events = read_events(tmp_path / "events.jsonl")
    assert len(events) < 20
    assert events[-1]["done"] == 1000


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(path).event("whole")
    with path.open("ab") as file:
        file.write(b'{"kind": "torn"')
    assert [event["kind"] for event in read_events(path)] == ["whole"]
