"""Paths that a node does not see are found before a stage starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster import visible
from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.plan import PlannedStage, StageSpec
from ulmfit_dist.cluster.visible import check_visible, look
from ulmfit_dist.config import Settings
from ulmfit_dist.errors import InputError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@pytest.fixture
def stages(tmp_path: Path) -> list[PlannedStage]:
    (tmp_path / "text.csv").write_text("text\n")
    (tmp_path / "run").mkdir()
    inputs = {"text": tmp_path / "text.csv", "own": tmp_path / "run" / "stages" / "not there yet"}
    return [PlannedStage(StageSpec("s", "job", Settings(), {}), "s", tmp_path / "run" / "s", inputs, (), {})]


def test_what_every_node_sees_passes_and_leaves_nothing(stages: list[PlannedStage], tmp_path: Path) -> None:
    check_visible(stages, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_data_that_looks_otherwise_on_a_node_is_named_with_the_node(
    stages: list[PlannedStage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visible, "look", lambda _: "a file of 99 bytes")
    expected = rf"does not see {tmp_path}/text.csv as .*; found: a file of 5 bytes there, a file of 99 bytes here"
    with pytest.raises(InputError, match=expected) as error:
        check_visible(stages, tmp_path / "run")
    assert error.value.exit_code == 2
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_directory_that_is_not_shared_is_refused(
    stages: list[PlannedStage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_ray: Capacity
) -> None:
    def elsewhere(paths: list[str], sent: Path, answer: Path) -> tuple[str, dict[str, str], str]:
        return "node2", {path: look(Path(path)) for path in paths}, ""

    monkeypatch.setattr(visible, "_look_from_node", elsewhere)
    with pytest.raises(InputError, match=f"node2 does not share the run directory {tmp_path}/run"):
        check_visible(stages, tmp_path / "run")


def test_a_look_tells_files_folders_and_nothing_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("abc")
    assert [look(tmp_path / name) for name in ("file", ".", "none")] == [
        "a file of 3 bytes",
        "a folder of 1 entries",
        "nothing",
    ]
