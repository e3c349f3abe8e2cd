"""The coordinator on a real Ray: order, ledger, failures that block their dependents only, retries, stop and go on."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from ulmfit_dist.cluster import scheduling
from ulmfit_dist.cluster.coordinator import Coordinator
from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.plan import Output, Plan, SourceDigests, StageSpec, make_plan
from ulmfit_dist.cluster.pretraining import pretrain
from ulmfit_dist.cluster.session import Where
from ulmfit_dist.cluster.status import RunReader
from ulmfit_dist.cluster.stopping import CANCEL_NAME
from ulmfit_dist.config import Settings
from ulmfit_dist.errors import DataError, InputError, PartialError, SignalledError, StoppedError
from ulmfit_dist.events import Silent, read_events
from ulmfit_dist.files import write_bytes
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.stage import STOP_NAME, StageCall, StageKind, Summary
from ulmfit_dist.stages import STAGES
from ulmfit_dist.training.pretrain import PretrainSettings
from ulmfit_dist.training.ranks import RankSettings

pytestmark = pytest.mark.ray


class Job(Settings):
    what: str = "write"


def _job(call: StageCall[Job]) -> Summary:
    what, tries = call.settings.what, call.out / "tries"
    with tries.open("a") as file:
        file.write("x")
    if what == "bad input":
        raise InputError("the text is bad", found="this", do="that")
    if what == "bug":
        raise KeyError("surprise")
    if what == "die once" and len(tries.read_text()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die always":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die but get further" and len(tries.read_text()) < 5:
        write_bytes(call.out / "checkpoints" / f"step-{len(tries.read_text()):09d}" / "manifest.json", b"{}")
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "sleep":
        time.sleep(1.0)
    if what == "slow":
        for step in range(600):
            call.reporter.progress(step, 600)
            if (call.out / STOP_NAME).exists():
                raise DataError("stopped at a checkpoint")
            time.sleep(0.05)
    write_bytes(
        call.out / "out.txt",
        "".join(p.joinpath("out.txt").read_text() for p in call.inputs.values()).encode() + what.encode(),
    )
    return {"what": what}


KINDS = {"job": StageKind("job", 1, _job, resumable=True)}


class Recorder:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def started(self, stage: str) -> None:
        self.lines.append(("started", stage))

    def progress(self, stage: str, event: dict[str, object]) -> None:
        self.lines.append(("progress", stage))

    def ended(self, stage: str, outcome: str, seconds: float) -> None:
        self.lines.append((outcome, stage))

    def note(self, text: str) -> None:
        self.lines.append(("note", text))

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _use_session_ray(local_ray: Capacity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the coordinator find the session's Ray instead of starting one of its own."""

    class Session:
        def __init__(self, _: Where) -> None: ...
        def __enter__(self) -> Capacity:
            return local_ray

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(scheduling, "ray_session", Session)


def _plan(run: Path, jobs: dict[str, tuple[str, list[str]]]) -> Plan:
    specs = [StageSpec(n, "job", Job(what=what), {u: Output(u) for u in up}) for n, (what, up) in jobs.items()]
    return make_plan(specs, KINDS, run, SourceDigests(None))


def _execute(run: Path, plan: Plan) -> Recorder:
    watch = Recorder()
    Coordinator(plan, KINDS, run, watch).execute(Where())
    return watch


def test_everything_runs_in_order_once_and_survives_a_dead_worker(tmp_path: Path) -> None:
    plan = _plan(
        tmp_path, {"a": ("die once", []), "b": ("write", ["a"]), "c": ("write", ["a"]), "d": ("write", ["b", "c"])}
    )
    watch = _execute(tmp_path, plan)
    assert (plan.stages["d"].folder / "out.txt").read_text() == "die oncewrite" * 2 + "write"
    order = [stage for kind, stage in watch.lines if kind == "done"]
    assert order[0] == "a"
    assert order[-1] == "d"
    assert [e["name"] for e in read_events(tmp_path / "events.jsonl") if e["kind"] == "stage-retried"] == ["a"]
    again = _execute(tmp_path, _plan(tmp_path, {"a": ("die once", []), "b": ("write", ["a"])}))
    assert again.lines == [("kept", "a"), ("kept", "b")]


def test_a_failure_blocks_its_dependents_only(tmp_path: Path) -> None:
    jobs = {"bad": ("bad input", []), "after": ("write", ["bad"]), "good": ("write", []), "bug": ("bug", [])}
    watch = Recorder()
    with pytest.raises(PartialError) as error:
        Coordinator(_plan(tmp_path, jobs), KINDS, tmp_path, watch).execute(Where())
    assert error.value.exit_code == 3
    assert ("done", "good") in watch.lines
    assert ("failed", "bad") in watch.lines
    assert ("blocked by bad", "after") in watch.lines
    events = read_events(tmp_path / "events.jsonl")
    tries = {name: sum(e["kind"] == "stage-started" and e["name"] == name for e in events) for name in jobs}
    assert tries == {"bad": 1, "bug": 2, "good": 1, "after": 0}
    (bug,) = [e for e in events if e["kind"] == "stage-failed" and e["name"] == "bug"]
    assert "surprise" in bug["reason"]
    assert "in _job" in bug["detail"]


def test_bad_input_met_by_a_stage_is_a_failure_not_a_refusal(tmp_path: Path) -> None:
    plan = _plan(tmp_path, {"bad": ("bad input", []), "after": ("write", ["bad"])})
    with pytest.raises(DataError, match="the text is bad; found: this; do: that") as error:
        Coordinator(plan, KINDS, tmp_path, Recorder()).execute(Where())
    assert error.value.exit_code == 1


def test_a_signal_stops_at_a_checkpoint_and_the_same_plan_goes_on(tmp_path: Path) -> None:
    plan = _plan(tmp_path, {"slow": ("slow", [])})
    threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(SignalledError) as error:
        Coordinator(plan, KINDS, tmp_path, Recorder()).execute(Where())
    assert error.value.exit_code == 143
    assert not plan.stages["slow"].done()
    stopped = [e for e in read_events(tmp_path / "events.jsonl") if e["kind"] == "run-stopped"]
    assert stopped[0]["running"] == ["slow"]


def test_more_gpus_than_there_are_is_refused_before_anything_starts(tmp_path: Path) -> None:
    specs = [
        StageSpec("first", "job", Job(), {}),
        StageSpec("large", "job", Job(), {"first": Output("first")}, gpus=2.0),
    ]
    plan = make_plan(specs, KINDS, tmp_path, SourceDigests(None))
    with pytest.raises(InputError, match="stage large asks for 2 GPUs; found: the cluster has 0") as error:
        Coordinator(plan, KINDS, tmp_path, Recorder()).execute(Where())
    assert error.value.exit_code == 2
    assert not plan.stages["first"].folder.exists()


@pytest.mark.parametrize("settings", [PretrainSettings(workers=3), TrainClassifierSettings(workers=3)])
def test_ranks_of_more_cpus_than_there_are_are_refused_before_anything_starts(
    tmp_path: Path, settings: RankSettings
) -> None:
    kind = "pretrain" if isinstance(settings, PretrainSettings) else "train-classifier"
    specs = [
        StageSpec("first", "job", Job(), {}),
        StageSpec("large", kind, settings, {"model": Output("first")}, cpus=3.0),
    ]
    kinds = {**KINDS, kind: STAGES[kind]}
    plan = make_plan(specs, kinds, tmp_path, SourceDigests(None))
    with pytest.raises(InputError, match="3 ranks of 1 CPU each do not fit the cluster; found: 2 CPU") as error:
        Coordinator(plan, kinds, tmp_path, Recorder()).execute(Where())
    assert error.value.exit_code == 2
    assert not plan.stages["first"].folder.exists()


def test_ranks_that_can_never_fit_are_refused_instead_of_waited_for(tmp_path: Path) -> None:
    call = StageCall(PretrainSettings(workers=64), {}, tmp_path, Silent())
    with pytest.raises(InputError, match=r"64 ranks of 1 CPU each do not fit the cluster; found: 2 CPU.*at most 2"):
        pretrain(call)


def test_a_crash_loop_ends_after_three_tries_and_one_that_gets_further_goes_on(tmp_path: Path) -> None:
    plan = _plan(tmp_path, {"loop": ("die always", []), "further": ("die but get further", [])})
    with pytest.raises(PartialError, match=r"1 stages failed.*found: loop"):
        Coordinator(plan, KINDS, tmp_path, Recorder()).execute(Where())
    events = read_events(tmp_path / "events.jsonl")
    tries = {n: sum(e["kind"] == "stage-started" and e["name"] == n for e in events) for n in plan.stages}
    assert tries == {"loop": 3, "further": 5}
    waits = {n: [e["wait"] for e in events if e["kind"] == "stage-retried" and e["name"] == n] for n in plan.stages}
    assert waits == {"loop": [1.0, 2.0], "further": [0.0] * 4}
    starts = [e["time"] for e in events if e["kind"] == "stage-started" and e["name"] == "loop"]
    assert starts[1] - starts[0] >= 1.0
    assert starts[2] - starts[1] >= 2.0


def test_cancel_stops_at_a_checkpoint_with_its_own_exit_code(tmp_path: Path) -> None:
    plan = _plan(tmp_path, {"slow": ("slow", []), "after": ("write", ["slow"])})
    (tmp_path / CANCEL_NAME).touch()  # of an earlier run: it does not count
    coordinator = Coordinator(plan, KINDS, tmp_path, Recorder())

    def cancel() -> None:
        while not list(tmp_path.glob("stages/slow-*/events.jsonl")):
            time.sleep(0.05)
        (tmp_path / CANCEL_NAME).touch()

    threading.Thread(target=cancel).start()
    started = time.monotonic()
    with pytest.raises(StoppedError, match="cancelled by request; do: run the same command") as error:
        coordinator.execute(Where())
    assert error.value.exit_code == 6
    assert time.monotonic() - started < 15
    assert not (tmp_path / CANCEL_NAME).exists()
    (stopped,) = [e for e in read_events(tmp_path / "events.jsonl") if e["kind"] == "run-stopped"]
    assert stopped["running"] == ["slow"]


def test_a_stage_tells_where_it_runs(tmp_path: Path) -> None:
    _execute(tmp_path, _plan(tmp_path, {"a": ("write", [])}))
    status = RunReader(tmp_path).read()
    assert [(s.state, s.host) for s in status.stages] == [("done", socket.gethostname())]


def test_two_runs_on_one_cluster_share_it(tmp_path: Path) -> None:
    """The first run has work for both CPUs without end; the second one must get its half, and no more than is there."""
    runs = {name: tmp_path / name for name in ("early", "late")}
    plans = {name: _plan(run, {f"{name}{i}": ("sleep", []) for i in range(6)}) for name, run in runs.items()}
    coordinators = {name: Coordinator(plan, KINDS, runs[name], Recorder()) for name, plan in plans.items()}
    failures: list[BaseException] = []

    def execute(name: str) -> None:
        try:
            coordinators[name].execute(Where("the cluster of the session"))
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=execute, args=(name,)) for name in runs]
    threads[0].start()
    while not list(runs["early"].glob("stages/*/events.jsonl")) and threads[0].is_alive():
        time.sleep(0.05)
    threads[1].start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert all(stage.done() for plan in plans.values() for stage in plan.stages.values())
    moments = sorted(
        (event["time"], 1 if event["kind"] == "stage-started" else -1, name)
        for name, run in runs.items()
        for event in read_events(run / "events.jsonl")
        if event["kind"] in ("stage-started", "stage-finished")
    )
    at_once = Counter[str]()
    most, both = 0, 0
    for _, step, name in moments:
        at_once[name] += step
        most, both = max(most, at_once.total()), both + (min(at_once["early"], at_once["late"]) > 0)
    assert most == 2, "more stages at once than CPUs"
    assert both >= 6, "one run waited for the other to end"
