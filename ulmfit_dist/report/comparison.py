"""A sweep's runs side by side, from comparison.json alone: a table, curves over the number of labels, and rows."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ulmfit_dist.report.figures import Axes, Bar, Series, bar_chart, line_chart

_TRAIN_SIZE = "classifier.train_size"
_NAMES = {"accuracy": "accuracy", "macro_f1": "macro F1", "micro_f1": "micro F1", "r2": "r2", "mae": "mean error"}


def comparison_context(found: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the template shows of a comparison; `comparison` is None where there is none."""
    if found is None:
        return {"comparison": None}
    measure = found["headline"][0]
    rows = [row for row in found["rows"] if row["kind"] != "majority"]
    shown = [{**row, **row["measures"][measure], "pooled": (row["pooled"] or {}).get(measure)} for row in rows]
    return {
        "comparison": {
            "measure": _NAMES.get(measure, measure),
            "level": found["level"],
            "rows": shown,
            "pooled": any(row["pooled"] is not None for row in shown),
            "sentences": _sentences(found),
        },
        "comparison_figures": _figures(found, shown, _NAMES.get(measure, measure)),
    }


def _figures(found: dict[str, Any], rows: list[dict[str, Any]], measure: str) -> list[Markup]:
    finals = [row for row in rows if row["final"]]
    if _TRAIN_SIZE in found["compared"]:
        return [_curve(finals, [row for row in rows if row["kind"] == "baseline"], measure)]
    if len(finals) < 2:
        return []
    bars = [Bar(row["label"], row["mean"], row["low"], row["high"]) for row in finals]
    return [bar_chart(Axes("comparison", "Runs side by side", measure, ""), bars)]


def _curve(finals: list[dict[str, Any]], baselines: list[dict[str, Any]], measure: str) -> Markup:
    """Draw a line for each of the other settings, and one for the baseline, which those settings leave alone."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in finals:
        lines.setdefault(_beside_size(row), []).append(row)
    series = [
        _line(name or rows[0]["system"], rows, color, "points") for color, (name, rows) in enumerate(lines.items())
    ]
    first = next(iter(lines), "")
    beside = [row for row in baselines if _beside_size(row) == first]
    if beside:
        series.append(_line("tf-idf + LR", beside, len(lines), "dashed"))
    axes = Axes("low-shot", "By the number of labels", "labelled documents", measure, log_x=True)
    return line_chart(axes, series)


def _line(label: str, rows: list[dict[str, Any]], color: int, shape: Any) -> Series:
    rows = sorted(rows, key=_size)
    band = [row["low"] for row in rows], [row["high"] for row in rows]
    return Series(label, [_size(row) for row in rows], [row["mean"] for row in rows], color, shape, band)


def _size(row: dict[str, Any]) -> float:
    return float(row["training_documents"] or row["settings"][_TRAIN_SIZE])


def _beside_size(row: dict[str, Any]) -> str:
    return ", ".join(str(value) for key, value in row["settings"].items() if key != _TRAIN_SIZE)


def _sentences(found: dict[str, Any]) -> list[str]:
    """Say where the baseline wins, or is not clearly beaten."""
    out = []
    for row in found["differences"]:
        if row["with_label"] != row["label"]:
            continue
        name = f" in {row['label']}" if row["label"] else ""
        if row["mean"] < 0:
            how = "wins" if row["high"] is not None and row["high"] < 0 else "is ahead, within the interval"
            out.append(f"{row['with_system']} {how}{name}, by {100 * -row['mean']:.1f} points.")
    return out
