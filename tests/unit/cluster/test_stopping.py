"""Requests from outside: a file, a drained node, a signal; each seen within a second and forgotten afterwards."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ulmfit_dist.cluster.stopping import CANCEL_NAME, StopRequest, drain_watched, signals_as_stop, stop_file_watched
from ulmfit_dist.errors import SignalledError, StoppedError
from ulmfit_dist.training.stop import STOP


@pytest.fixture(autouse=True)
def _clear() -> Iterator[None]:
    yield
    STOP.clear()


def _wait_for_stop() -> None:
    deadline = time.monotonic() + 5
    while not STOP.requested and time.monotonic() < deadline:
        time.sleep(0.02)


def test_the_file_becomes_a_request_and_the_request_ends_with_the_block(tmp_path: Path) -> None:
    STOP.request()  # an old request must not reach the next training
    with stop_file_watched(tmp_path / "stop"):
        assert not STOP.requested
        (tmp_path / "stop").touch()
        _wait_for_stop()
        assert STOP.requested
    assert not STOP.requested


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_the_file_and_names_itself_at_the_end(tmp_path: Path, number: signal.Signals) -> None:
    path, before = tmp_path / "stop", signal.getsignal(number)
    path.touch()  # of a run that was stopped: this one goes on
    with pytest.raises(SignalledError, match=number.name) as error, signals_as_stop(path):
        assert not path.exists()
        signal.raise_signal(number)
        assert path.exists()
        assert STOP.requested
        raise StoppedError("stopped", do="run it again")
    assert error.value.exit_code == 128 + number
    assert error.value.do == "run it again"
    assert not path.exists()
    assert not STOP.requested
    assert signal.getsignal(number) is before


def test_a_stop_without_a_signal_stays_one(tmp_path: Path) -> None:
    with pytest.raises(StoppedError) as error, signals_as_stop(tmp_path / "stop"):
        raise StoppedError("stopped")
    assert error.value.exit_code == 6


def test_another_thread_leaves_the_signals_alone(tmp_path: Path) -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with signals_as_stop(tmp_path / "stop"):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_drained_node_asks_for_one_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    notice = SimpleNamespace(preemption_info=None)
    context = SimpleNamespace(preemption_context=notice)
    monkeypatch.setattr("ray.train.v2._internal.execution.context.get_train_context", lambda: context)
    with drain_watched():
        time.sleep(0.7)
        assert not STOP.take_save()
        notice.preemption_info = SimpleNamespace(preempted_ranks=[1])
        time.sleep(0.7)
        assert STOP.take_save()
        time.sleep(0.7)
        assert not STOP.take_save()
    assert not STOP.requested


def test_a_run_is_stopped_by_a_file_or_a_signal_and_by_a_second_one_at_once(tmp_path: Path) -> None:
    (tmp_path / CANCEL_NAME).touch()  # of an earlier run
    before = signal.getsignal(signal.SIGTERM)
    request = StopRequest(tmp_path)
    with request.listening():
        assert request.made() is None
        (tmp_path / CANCEL_NAME).touch()
        cancelled = request.made()
        assert cancelled is not None
        assert (cancelled.exit_code, request.made()) == (6, None), "the file is used up"
        signal.raise_signal(signal.SIGTERM)
        signalled = request.made()
        assert signalled is not None
        assert (signalled.exit_code, request.urgent) == (143, False)
        signal.raise_signal(signal.SIGINT)
        assert request.urgent
    assert signal.getsignal(signal.SIGTERM) is before
