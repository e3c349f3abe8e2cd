"""The process that speaks with MLflow or Weights & Biases: `python -m ulmfit_dist.training.tracker_child NAME`.

It reads JSON lines from its input: {"name", "parameters", "id_file"}, then any number of {"metrics", "step"}, then
{"status"}. Input that ends without a status is a training that was killed. Where the run is kept and who may write is
the tracker's own business, by its environment variables. Its errors end this process, and the training goes on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

_KILLED = "KILLED"
_PARAMETERS_A_CALL = 100  # MLflow's limit


class Run(Protocol):
    """A run of a tracker, begun or, after a stop, gone on with."""

    id: str

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Record measures of a step."""

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""


class MLflowRun:
    """A run in the store of MLFLOW_TRACKING_URI, in the experiment of MLFLOW_EXPERIMENT_NAME."""

    def __init__(self, name: str, parameters: dict[str, Any], known_id: str | None) -> None:
        import mlflow

        self._mlflow = mlflow
        self.id = str(mlflow.start_run(run_id=known_id, run_name=None if known_id else name).info.run_id)
        rows = list(parameters.items()) if known_id is None else []
        for first in range(0, len(rows), _PARAMETERS_A_CALL):
            mlflow.log_params(dict(rows[first : first + _PARAMETERS_A_CALL]))

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Record measures of a step."""
        self._mlflow.log_metrics(metrics, step=step)

    def end(self, status: str) -> None:
        """Close the run with MLflow's own word for it."""
        self._mlflow.end_run(status)


class WandBRun:
    """A run in the project of WANDB_PROJECT."""

    def __init__(self, name: str, parameters: dict[str, Any], known_id: str | None) -> None:
        import wandb

        settings = wandb.Settings(console="off")
        self._run = wandb.init(name=name, config=parameters, id=known_id, resume="allow", settings=settings)
        self.id = str(self._run.id)

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Record measures of a step."""
        self._run.log(metrics, step=step)

    def end(self, status: str) -> None:
        """Close the run; W&B knows exit codes only."""
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)


_KINDS: dict[str, type[MLflowRun | WandBRun]] = {"mlflow": MLflowRun, "wandb": WandBRun}


def follow(kind: type[MLflowRun | WandBRun], lines: Iterable[str]) -> None:
    """Begin a run by the first line, or go on with the one whose id is in its `id_file`, and record the others."""
    records = map(json.loads, lines)
    start = next(records)
    id_file = Path(start["id_file"])
    run: Run = kind(start["name"], start["parameters"], id_file.read_text() if id_file.exists() else None)
    id_file.parent.mkdir(parents=True, exist_ok=True)
    id_file.write_text(run.id)
    status = _KILLED
    for record in records:
        if "status" in record:
            status = record["status"]
        else:
            run.log(record["metrics"], record["step"])
    run.end(status)


if __name__ == "__main__":
    follow(_KINDS[sys.argv[1]], sys.stdin)
