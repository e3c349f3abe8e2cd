"""Stages: finished means `stage.json`, fingerprints follow what changes the result and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.config import Settings, operational
from ulmfit_dist.errors import DataError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import read_json, write_bytes
from ulmfit_dist.stage import StageCall, StageKind, Summary, is_done, run_stage, stage_fingerprint, verify_stage


class Number(Settings):
    value: int = 1
    workers: int = operational(1, "processes")


calls: list[int] = []


def _write(call: StageCall[Number]) -> Summary:
    calls.append(call.settings.value)
    write_bytes(call.out / "sub" / "number.txt", str(call.settings.value).encode())
    return {"value": call.settings.value}


def _fail(call: StageCall[Number]) -> Summary:
    write_bytes(call.out / "half.txt", b"half")
    raise DataError("broken")


KIND = StageKind("number", 1, _write)


def _call(out: Path, value: int = 1) -> StageCall[Number]:
    return StageCall(Number(value=value), {}, out, Silent())


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    calls.clear()
    first = run_stage(KIND, _call(tmp_path), "a" * 32)
    second = run_stage(KIND, _call(tmp_path), "a" * 32)
    assert first == second == {"value": 1}
    assert calls == [1]
    assert is_done(tmp_path, "a" * 32)
    assert not is_done(tmp_path, "b" * 32)


def test_the_record_digests_every_output(tmp_path: Path) -> None:
    run_stage(KIND, _call(tmp_path), "a" * 32)
    record = read_json(tmp_path / "stage.json")
    assert set(record["outputs"]) == {"sub/number.txt", "recipe.toml"}
    assert verify_stage(tmp_path) == []
    (tmp_path / "sub" / "number.txt").write_bytes(b"2")
    (error,) = verify_stage(tmp_path)
    assert "number.txt" in str(error)
    (tmp_path / "sub" / "number.txt").unlink()
    (error,) = verify_stage(tmp_path)
    assert "no file" in str(error)


def test_a_failed_stage_did_not_happen_and_its_rest_is_removed(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run_stage(StageKind("number", 1, _fail), _call(tmp_path), "a" * 32)
    assert not is_done(tmp_path)
    assert (tmp_path / "half.txt").exists()
    run_stage(KIND, _call(tmp_path), "a" * 32)
    assert not (tmp_path / "half.txt").exists()


def test_a_resumable_stage_finds_what_it_left(tmp_path: Path) -> None:
    def again(call: StageCall[Number]) -> Summary:
        return {"found": (call.out / "half.txt").read_text()}

    with pytest.raises(DataError):
        run_stage(StageKind("number", 1, _fail, resumable=True), _call(tmp_path), "a" * 32)
    summary = run_stage(StageKind("number", 1, again, resumable=True), _call(tmp_path), "a" * 32)
    assert summary == {"found": "half"}


def test_a_resumable_stage_does_not_continue_another_ones_work(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run_stage(StageKind("number", 1, _fail, resumable=True), _call(tmp_path), "a" * 32)
    run_stage(StageKind("number", 1, _write, resumable=True), _call(tmp_path, 2), "b" * 32)
    assert not (tmp_path / "half.txt").exists()


def test_fingerprint_covers_settings_version_and_inputs_but_not_workers() -> None:
    base = stage_fingerprint(KIND, Number(), {"in": "x"})
    assert base == stage_fingerprint(KIND, Number(workers=9), {"in": "x"})
    others = {
        stage_fingerprint(KIND, Number(value=2), {"in": "x"}),
        stage_fingerprint(KIND, Number(), {"in": "y"}),
        stage_fingerprint(StageKind("number", 2, _write), Number(), {"in": "x"}),
        stage_fingerprint(StageKind("other", 1, _write), Number(), {"in": "x"}),
    }
    assert len(others) == 4
    assert base not in others
