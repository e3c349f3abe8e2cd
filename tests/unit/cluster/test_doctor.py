"""The doctor: every subject is looked at, and a cluster that is not there is said at once."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from ulmfit_dist.cluster import doctor
from ulmfit_dist.cluster.checks.finding import Finding, Level
from ulmfit_dist.cluster.checks.ports import free_port
from ulmfit_dist.cluster.doctor import Site, examine, examine_site


def test_every_subject_of_a_machine_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "between_processes", lambda backend: Finding(f"{backend} all-reduce", ""))  # 10 s
    found = {finding.subject: finding for finding in examine(tmp_path / "not" / "yet")}
    expected = {"Python", "Ray", "memory", "/dev/shm", "recipes", "torch", "GPU"}
    assert expected | {"disk", "writing", "file locks", "gloo all-reduce"} <= set(found)
    assert not [finding for finding in found.values() if finding.level is Level.BLOCKS]
    assert not list(tmp_path.iterdir())


def test_nothing_at_the_address_is_said_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    *_, last = examine_site(tmp_path, Site(f"127.0.0.1:{free_port()}"))
    assert time.monotonic() - start < 5
    assert (last.subject, last.level) == ("cluster", Level.BLOCKS)
    assert "nothing listens" in last.found
    assert last.do


def test_a_head_that_comes_late_is_waited_for() -> None:
    port = free_port()
    served = threading.Event()

    def serve() -> None:
        with socket.create_server(("127.0.0.1", port)) as server:
            server.accept()[0].close()
            served.set()

    late = threading.Timer(1.0, serve)
    late.start()
    assert doctor._answers(Site(f"127.0.0.1:{port}", wait=20))
    late.join()
    assert served.is_set()


def test_a_good_finding_needs_no_cure() -> None:
    assert Finding("a", "b", do="c").as_json() == {
        "subject": "a",
        "found": "b",
        "level": "good",
        "do": "",
        "node": "",
        "good": True,
    }
    assert Finding("a", "b", Level.WARNING, "c").as_json()["do"] == "c"
