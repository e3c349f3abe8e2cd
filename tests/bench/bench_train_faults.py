"""A training that everything happens to ends as the one that nothing happened to: kills, silence, nodes lost and found.

    pytest -m slow -s tests/bench/bench_train_faults.py

Two gloo ranks under torchrun killed at 20 random steps; one rank killed at 100 random moments of checkpoint writing;
under Ray Train a rank stopped, a rank killed, a node removed and added, a node drained and gone, and SIGTERM to the
driver. About 25 minutes on two cores.
"""

from __future__ import annotations

import importlib.util
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
KILLS_OF_RANKS, KILLS_OF_WRITING = 20, 100
TIMEOUT_S = 15


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "multiprocess" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


launching = _module("launching")


def test_ranks_killed_at_twenty_random_steps(tmp_path: Path) -> None:
    launching.write_inputs(tmp_path)
    assert launching.ended(launching.torchrun(launching.pretrain_command(tmp_path, tmp_path / "whole"))) == 0
    whole, out = launching.curve(tmp_path / "whole"), tmp_path / "killed"
    generator = random.SystemRandom()
    steps = sorted(generator.sample(range(2, len(whole) - 10), KILLS_OF_RANKS))
    process = launching.torchrun(launching.pretrain_command(tmp_path, out), restarts=KILLS_OF_RANKS + 5)
    killed = []
    try:
        for step in steps:
            rank = generator.randrange(2)
            launching.wait_for(lambda step=step: launching.newest_point(out) >= step)
            victim = launching.rank_process(process.pid, rank)
            at, started = launching.newest_point(out), len(launching.events(out, "resumed"))
            victim.kill()
            killed.append((at, rank))
            # Before the first checkpoint there is nothing to resume from: the step count starts again.
            launching.wait_for(
                lambda started=started, at=at: (
                    len(launching.events(out, "resumed")) > started or launching.newest_point(out) < at
                )
            )
        assert launching.ended(process, 600) == 0
    finally:
        launching.kill_tree(process.pid)
    print(f"\n{len(killed)} kills of (step, rank): {killed}")
    assert launching.curve(out) == whole
    assert launching.weights(out) == launching.weights(tmp_path / "whole")


def test_one_rank_killed_at_a_hundred_moments_of_checkpoint_writing(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path), str(KILLS_OF_WRITING)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    print(f"\n{done.stdout}")
    weights = [(tmp_path / name / "weights.bin").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def kill_while_writing(folder: Path, kills: int) -> None:
    """Train in forks of this process, kill each while it writes a checkpoint, then let one come to the end."""
    resume_kill = _module("test_resume_kill")
    changes = {"checkpoint_steps": 1, "epochs": 12}
    resume_kill.SETTINGS = resume_kill.SETTINGS.model_copy(update=changes)
    resume_kill.write_streams(folder)
    seconds: list[float] = []
    _forked(resume_kill, folder, "whole", seconds.append)
    typical = sorted(seconds)[len(seconds) // 2]
    generator, left = random.SystemRandom(), {"whole": 0, "half": 0}
    for _ in range(kills):
        moment = (generator.randint(1, 3), generator.uniform(0, 1.2 * typical))
        _forked(resume_kill, folder, "killed", None, moment)
        newest = max((folder / "killed").glob("step-*"))
        left["whole" if (newest / "manifest.json").exists() else "half"] += 1
    _forked(resume_kill, folder, "killed", None)
    print(f"{kills} kills within {typical * 1e3:.1f} ms of writing; newest checkpoint after the kill: {left}")


def _forked(
    resume_kill: ModuleType,
    folder: Path,
    name: str,
    note: Callable[[float], None] | None,
    kill: tuple[int, float] | None = None,
) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _tell_of_writing(writer)
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the steps, which nobody reads here
        try:
            resume_kill.train(folder, name)
        finally:
            os._exit(0 if (folder / name / "weights.bin").exists() else 1)
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as told:
        writings = 0
        while message := told.read(1):
            if message == b"b":
                writings, begun = writings + 1, time.perf_counter()
                if kill is not None and writings == kill[0]:
                    time.sleep(kill[1])
                    os.kill(child, signal.SIGKILL)
            elif note is not None:
                note(time.perf_counter() - begun)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) if kill is not None else status == 0


def _tell_of_writing(pipe: int) -> None:
    from ulmfit_dist.training.checkpoint import CheckpointFolder

    write = CheckpointFolder._write

    def told(self: CheckpointFolder, *arguments: Any) -> None:
        os.write(pipe, b"b")
        write(self, *arguments)
        os.write(pipe, b"e")

    CheckpointFolder._write = told  # type: ignore[method-assign]


class _Cluster:
    """A Ray of one head and two nodes of one CPU, and a pretraining of one or two ranks on it, in a thread."""

    def __init__(self, folder: Path, settings: Any) -> None:
        import ulmfit_dist.cluster  # noqa: F401, I001 - sets Ray's environment before Ray reads it
        import ray
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 100_000_000}
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small}
        )
        self.small, self.ray = small, ray
        self.nodes = [self.cluster.add_node(num_cpus=1, **small) for _ in range(2)]
        ray.init(self.cluster.address, log_to_driver=False)
        self.out, self.settings, self.result = folder / "out", settings, {}
        self.thread = threading.Thread(target=self._train, args=(folder,))
        self.thread.start()

    def _train(self, folder: Path) -> None:
        from ulmfit_dist.cluster.pretraining import pretrain
        from ulmfit_dist.stage import StageCall, stage_reporter

        inputs = {"tokens": folder / "tokens", "tokenizer": folder / "tokenizer"}
        try:
            self.result = pretrain(StageCall(self.settings, inputs, self.out, stage_reporter(self.out)))
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.result = {"error": repr(error)}

    def victim(self) -> psutil.Process:
        """A process of the present group."""
        return next(p for p in psutil.process_iter() if p.name() == "ray::RayTrainWorker")

    def close(self) -> None:
        self.ray.shutdown()
        self.cluster.shutdown()


def elastic_settings(checkpoint_steps: int = 20) -> Any:
    """Return the settings of the elastic pretraining."""
    from ulmfit_dist.training.pretrain import PretrainSettings

    training = {
        "num_lanes": 6,
        "bptt": 10,
        "valid_lanes": 3,
        "checkpoint_steps": checkpoint_steps,
        "log_points": 100_000,
    }
    model = {"embedding_size": 10, "hidden_size": 16, "num_layers": 2}
    operational = {"workers": 2, "min_workers": 1, "group_timeout_seconds": TIMEOUT_S}
    return PretrainSettings.model_validate({"model": model, "training": training, **operational})


def test_silence_death_and_changing_nodes_under_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Before Ray is loaded: it reads them once.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    launching.write_inputs(tmp_path, 30_000)
    cluster = _Cluster(tmp_path, elastic_settings())
    out, sizes = cluster.out, [2]
    try:
        launching.wait_for(lambda: launching.newest_point(out) > 60)
        for what in ("stopped", "killed", "node removed", "node added"):
            at, since, clock = launching.newest_point(out), time.time(), time.monotonic()
            victim = _disturb(cluster, what)
            resumed = launching.wait_for(lambda since=since: _after(out, "resumed", since), 240)[0]
            sizes.append(_after(out, "rank-started", since)[-1]["world_size"])
            seconds = time.monotonic() - clock
            failed = [event["time"] - since for event in _after(out, "rank-failed", since)]
            found = f", found after {failed[0]:.1f} s" if failed else ""
            print(
                f"{what} at step {at}: on with {sizes[-1]} ranks at step {resumed['step']} after {seconds:.0f} s{found}"
            )
            if what == "stopped":
                assert failed[0] < TIMEOUT_S + 5
                assert not victim.is_running()
            launching.wait_for(lambda at=resumed["step"]: launching.newest_point(out) > at + 60)
        cluster.thread.join(600)
    finally:
        (out / "stop").touch()
        cluster.thread.join(60)
        cluster.close()
    assert "metrics" in cluster.result, cluster.result
    assert sizes == [2, 2, 2, 1, 2]
    _check_order(tmp_path, out)


def test_a_drained_node_leaves_a_checkpoint_before_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    launching.write_inputs(tmp_path, 30_000)
    cluster = _Cluster(tmp_path, elastic_settings(checkpoint_steps=1_000_000))
    out = cluster.out
    try:
        launching.wait_for(lambda: launching.newest_point(out) > 60)
        assert not list(out.glob("checkpoints/*/manifest.json"))
        node, since = cluster.nodes.pop(), time.monotonic()
        at = launching.newest_point(out)
        _drain(cluster.cluster.address, node.node_id)
        saved = launching.wait_for(lambda: list(out.glob("checkpoints/*/manifest.json")), 60)
        seconds, clock = time.monotonic() - since, time.time()
        cluster.cluster.remove_node(node, allow_graceful=False)
        resumed = launching.wait_for(lambda: _after(out, "resumed", clock), 240)[0]["step"]
        print(f"notice at step {at}: checkpoint of step {resumed} after {seconds:.1f} s, on from there with one rank")
        assert seconds < 10
        assert saved[0].parent.name == f"step-{resumed:09d}"
        cluster.thread.join(600)
    finally:
        (out / "stop").touch()
        cluster.thread.join(60)
        cluster.close()
    assert "metrics" in cluster.result, cluster.result
    _check_order(tmp_path, out)


def _drain(address: str, node: str) -> None:
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the test", "--node-id", node]
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, *reason]
    subprocess.run([*command, "--deadline-remaining-seconds", "60"], check=True, capture_output=True)


def test_sigterm_to_the_driver_of_two_ranks(tmp_path: Path) -> None:
    launching.write_inputs(tmp_path, 3000)
    changes = {"resources.pretrain_workers": 2, "pretrain.training.checkpoint_steps": 1_000_000}
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = [sys.executable, "-m", "ulmfit_dist"]
    subprocess.run([*command, *launching.pretrain_command(tmp_path, whole, changes)], check=True, capture_output=True)
    again = [*command, *launching.pretrain_command(tmp_path, out, changes)]
    process = subprocess.Popen(again, stdout=subprocess.DEVNULL)
    try:
        launching.wait_for(lambda: launching.newest_point(out) > 60)
        process.terminate()
        since = time.monotonic()
        launching.wait_for(lambda: list(out.glob("checkpoints/*/manifest.json")), 60)
        saved = time.monotonic() - since
        assert launching.ended(process) == 128 + signal.SIGTERM
        print(f"checkpoint after {saved:.1f} s, driver ended after {time.monotonic() - since:.1f} s")
        assert saved < 10
    finally:
        launching.kill_tree(process.pid)
    step = launching.newest_point(out)
    assert [path.name for path in (out / "checkpoints").iterdir()] == [f"step-{step:09d}"]
    subprocess.run(again, check=True, capture_output=True)
    assert launching.weights(out) == launching.weights(whole)
    assert launching.curve(out) == launching.curve(whole)


def _disturb(cluster: _Cluster, what: str) -> psutil.Process:
    victim = cluster.victim()
    if what == "node removed":
        cluster.cluster.remove_node(cluster.nodes.pop(), allow_graceful=False)
    elif what == "node added":
        cluster.nodes.append(cluster.cluster.add_node(num_cpus=1, **cluster.small))
    else:
        victim.send_signal(signal.SIGSTOP if what == "stopped" else signal.SIGKILL)
    return victim


def _after(out: Path, kind: str, since: float) -> list[dict[str, Any]]:
    return [event for event in launching.events(out, kind) if event["time"] > since]


def _check_order(inputs: Path, out: Path) -> None:
    """Every step's loss is that of one undisturbed rank: other tokens, or another order of them, would show."""
    from ulmfit_dist.events import Silent
    from ulmfit_dist.stage import StageCall
    from ulmfit_dist.training.pretrain import run_pretraining

    settings = elastic_settings()
    alone = inputs / "alone"
    streams = {"tokens": inputs / "tokens", "tokenizer": inputs / "tokenizer"}
    run_pretraining(StageCall(settings, streams, alone, Silent()))
    ours, theirs = launching.curve(out), launching.curve(alone)
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    largest = max(abs(one[2] - two[2]) / two[2] for one, two in zip(ours, theirs, strict=True))
    between = [abs(a[2] - b[2]) / b[2] for a, b in zip(theirs[1:], theirs, strict=False)]
    print(f"{len(ours)} steps; largest relative difference of a loss {largest:.1e}, of neighbours {max(between):.1e}")
    assert largest < 1e-4


if __name__ == "__main__":
    kill_while_writing(Path(sys.argv[1]), int(sys.argv[2]))
