"""Loss curves and learning rates of every training, from the stages' curves.json; curves of a result of two classes.

One chart for each phase and unit, with both directions in it: four members fit three rows of two. Of a sweep only what
its runs have in common is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from markupsafe import Markup

from ulmfit_dist.report.figures import Axes, Series, line_chart
from ulmfit_dist.report.run import CURVES_NAME, RunFiles, StageFiles, member_of

_PHASES = (("pretrain", "Pretraining"), ("finetune", "Fine-tuning"), ("classifier", "Classifier"))


def loss_figures(run: RunFiles) -> list[Markup]:
    """Return a chart of training and validation loss for each phase and unit."""
    figures = []
    for prefix, phase in _PHASES:
        for unit, stages in _by_unit(_shared(run, prefix)).items():
            series = [line for i, stage in enumerate(stages) for line in _loss_lines(stage, i)]
            if series:
                axes = Axes(f"loss-{prefix}-{unit}", f"{phase}, {unit}", "step", "loss")
                figures.append(line_chart(axes, series))
    return figures


def rate_figures(run: RunFiles) -> list[Markup]:
    """Return a chart of the learning rate for each phase; members whose rates are the same are one line."""
    figures = []
    for prefix, phase in _PHASES:
        lines: dict[tuple[tuple[float, ...], tuple[float, ...]], list[str]] = {}
        for stage in _shared(run, prefix):
            steps, rates = _column(_points(stage), "step"), _column(_points(stage), "lr")
            if steps:
                lines.setdefault((tuple(steps), tuple(rates)), []).append(member_of(stage.name))
        series = [
            Series(", ".join(names), steps, rates, color, "dashed" if color else "points" if len(steps) < 3 else "line")
            for color, ((steps, rates), names) in enumerate(lines.items())
        ]
        if series:
            figures.append(line_chart(Axes(f"rate-{prefix}", phase, "step", "learning rate"), series))
    return figures


def binary_figures(curves: dict[str, list[list[float]]] | None) -> list[Markup]:
    """Return the ROC and the precision-recall chart of a system with two classes; none of any other."""
    if curves is None:
        return []
    charts = (
        (Axes("roc", "ROC", "false positive rate", "true positive rate"), curves["roc"]),
        (Axes("precision-recall", "Precision and recall", "recall", "precision"), curves["precision_recall"]),
    )
    lines = [(axes, [[point[i] for point in points] for i in (0, 1)]) for axes, points in charts]
    return [line_chart(axes, [Series("", x, y, 0, "dashed")]) for axes, (x, y) in lines]


def _shared(run: RunFiles, prefix: str) -> list[StageFiles]:
    return [stage for stage in run.of(prefix) if stage.shared]


def _by_unit(stages: Sequence[StageFiles]) -> dict[str, list[StageFiles]]:
    units: dict[str, list[StageFiles]] = {}
    for stage in stages:
        units.setdefault(member_of(stage.name).partition("-")[0], []).append(stage)
    return units


def _loss_lines(stage: StageFiles, color: int) -> list[Series]:
    direction = stage.name.rpartition("-")[2]
    curves = stage.json(CURVES_NAME) or {}
    shapes: tuple[tuple[str, str, Literal["line", "points"]], ...] = (
        ("points", f"{direction}, training", "line"),
        ("epochs", f"{direction}, validation", "points"),
    )
    lines = []
    for key, label, shape in shapes:
        rows = curves.get(key, [])
        if rows:
            lines.append(Series(label, _column(rows, "step"), _column(rows, "loss"), color, shape))
    return lines


def _points(stage: StageFiles) -> list[dict[str, Any]]:
    return list((stage.json(CURVES_NAME) or {}).get("points", []))


def _column(rows: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [float(row[key]) for row in rows]
