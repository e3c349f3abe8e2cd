"""Ingest on real actors: the bytes of one process, also when an actor is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from ulmfit_dist.cluster import ingesting as ingesting_module
from ulmfit_dist.cluster.ingesting import ingest_on_pool
from ulmfit_dist.crawl import pieces as pieces_module
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.events import EventLog, Silent, read_events
from ulmfit_dist.files import digest_file
from ulmfit_dist.stage import StageCall

pytestmark = pytest.mark.ray


def _tree(out: Path) -> dict[str, str]:
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "events.jsonl"]
    return {str(path.relative_to(out)): digest_file(path) for path in files}


def _kill_an_actor(out: Path, killed: list[int]) -> None:
    """SIGKILL one actor once five pieces are read."""
    while len(list(out.glob("pieces/[0-9]*.json"))) < 5:
        time.sleep(0.005)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended, or is a zombie
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::_Worker"):
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return


def test_two_actors_and_a_kill_give_the_bytes_of_one_process(
    tmp_path: Path, local_ray: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pieces_module, ingesting_module):
        monkeypatch.setattr(module, "PIECE_BYTES", 25_000)
    lines = [{"text": f"text {n % 3000} " + "word " * (n % 40)} if n % 200 else {"bad": n} for n in range(8000)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = IngestSettings(sources=[str(tmp_path / "a.jsonl")], item_characters=100_000)
    expected = ingest(StageCall(settings, {}, tmp_path / "here", Silent()))
    out, killed = tmp_path / "out", list[int]()
    killer = threading.Thread(target=_kill_an_actor, args=(out, killed), daemon=True)
    killer.start()
    assert ingest_on_pool(StageCall(settings, {}, out, EventLog(out / "events.jsonl"))) == expected
    killer.join(timeout=10)
    assert _tree(out) == _tree(tmp_path / "here")
    assert len(killed) == 1
    kinds = [event["kind"] for event in read_events(out / "events.jsonl")]
    assert kinds.count("item-retried") <= 1
    assert "item-quarantined" not in kinds
