"""The last stage of a sweep: the runs side by side, what repeats averaged with an interval.

Seeds and folds repeat; every other setting is compared. An interval over repeats is Student's t over the runs (over the
folds, where there are some: each fold's seeds are averaged first). Folds share most of their training documents, so
theirs is somewhat too narrow (Bengio and Grandvalet 2004). A single run has the bootstrap interval over its documents.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import read_json, write_bytes, write_json
from ulmfit_dist.finetune.measures import measures_of
from ulmfit_dist.stage import StageCall, Summary

COMPARISON_NAME = "comparison.json"
TABLE_NAME = "comparison.csv"


class ComparedRun(Settings):
    """One run: the settings that are compared, with their label, and which repeat and fold of them it is."""

    label: str = ""
    compared: dict[str, Any] = Field(default={})
    repeat: str = ""
    fold: int | None = None


class CompareSettings(Settings):
    """What the runs are, in the order of the inputs."""

    runs: list[ComparedRun] = Field(min_length=1)
    level: float = Field(default=0.95, gt=0, lt=1, description="coverage of the intervals")


@dataclass(frozen=True)
class _Group:
    """The runs of one label, with what was measured of each."""

    label: str
    compared: Mapping[str, Any]
    runs: Sequence[tuple[ComparedRun, dict[str, Any]]]
    level: float

    @property
    def final(self) -> str:
        """The system that stands for the group."""
        return str(self.runs[0][1]["final"])

    def systems(self) -> list[str]:
        return list(dict.fromkeys(row["name"] for _, metrics in self.runs for row in metrics["systems"]))

    def rows(self, system: str) -> list[tuple[ComparedRun, dict[str, Any]]]:
        """Return the system's row of each run that has it."""
        return [(run, row) for run, metrics in self.runs for row in metrics["systems"] if row["name"] == system]

    def units(self, system: str, measure: str) -> dict[Any, float]:
        """Return what the interval is over: a value a fold, its repeats averaged, or a value a run."""
        found: dict[Any, list[float]] = {}
        for run, row in self.rows(system):
            found.setdefault(run.repeat if run.fold is None else run.fold, []).append(float(row[measure]["value"]))
        return {unit: fmean(values) for unit, values in found.items()}


def compare_runs(call: StageCall[CompareSettings]) -> Summary:
    """Put the evaluations of a sweep's runs side by side; write comparison.json and comparison.csv.

    Inputs: `run-00000` ..., a metrics.json for each of the settings' runs. Raises InputError when they measure
    different kinds of labels.
    """
    groups = _groups(call)
    first = groups[0].runs[0][1]
    headline, target, labels = first["headline"], first["target"], first["labels"]
    found = {
        "format": 1,
        "target": target,
        "headline": headline,
        "level": call.settings.level,
        "compared": list(dict.fromkeys(key for group in groups for key in group.compared)),
        "rows": [row for group in groups for row in _rows(group, headline, (target, len(labels)))],
        "differences": _differences(groups, headline[0], call.settings.level),
    }
    write_json(call.out / COMPARISON_NAME, found)
    write_bytes(call.out / TABLE_NAME, _table(found).encode())
    finals = {row["label"]: row["measures"][headline[0]] for row in found["rows"] if row["final"]}
    return {"runs": len(call.settings.runs), "measure": headline[0], "finals": finals}


def _groups(call: StageCall[CompareSettings]) -> list[_Group]:
    by_label: dict[str, list[tuple[ComparedRun, dict[str, Any]]]] = {}
    for number, run in enumerate(call.settings.runs):
        by_label.setdefault(run.label, []).append((run, read_json(call.inputs[f"run-{number:05d}"])))
    kinds = sorted({metrics["target"] for runs in by_label.values() for _, metrics in runs})
    if len(kinds) > 1:
        do = "run them as recipes of their own"
        raise InputError("the runs cannot be compared", found=f"labels of different kinds: {', '.join(kinds)}", do=do)
    return [_Group(label, runs[0][0].compared, runs, call.settings.level) for label, runs in by_label.items()]


def _rows(group: _Group, headline: Sequence[str], kind: tuple[Any, int]) -> list[dict[str, Any]]:
    out = []
    learned = next((row["documents"] for _, m in group.runs for row in m["systems"] if row["kind"] == "majority"), None)
    for system in group.systems():
        runs = group.rows(system)
        folds = {run.fold for run, _ in runs} - {None}
        units = len(group.units(system, headline[0]))
        out.append(
            {
                "label": group.label,
                "settings": dict(group.compared),
                "system": system,
                "kind": runs[0][1]["kind"],
                "final": system == group.final,
                "training_documents": learned,
                "runs": len(runs),
                "interval": f"t over {units} {'folds' if folds else 'runs'}"
                if units > 1
                else "bootstrap over documents",
                "measures": {name: _measured(group, system, name) for name in headline},
                "pooled": _pooled(runs, headline, kind) if folds else None,
            }
        )
    return out


def _measured(group: _Group, system: str, measure: str) -> dict[str, Any]:
    values = list(group.units(system, measure).values())
    if len(values) == 1:
        row = group.rows(system)[0][1][measure]
        return {"mean": values[0], "deviation": None, "low": row["low"], "high": row["high"], "values": values}
    low, high = _t_interval(values, group.level)
    if group.runs[0][1]["target"] != "regression":
        # Shares, which two values or three can seem to leave.
        low, high = max(0.0, low), min(1.0, high)
    return {"mean": fmean(values), "deviation": stdev(values), "low": low, "high": high, "values": values}


def _pooled(
    runs: Sequence[tuple[ComparedRun, dict[str, Any]]], headline: Sequence[str], kind: tuple[Any, int]
) -> dict[str, float]:
    """Measure all folds' test documents as one set, for each repeat; return the mean over repeats."""
    sums: dict[str, Any] = {}
    for run, row in runs:
        sums[run.repeat] = sums.get(run.repeat, 0) + np.array(row["sums"])
    found = measures_of(*kind).statistics(np.stack(list(sums.values())))
    return {name: float(found[name].mean()) for name in headline}


def _differences(groups: Sequence[_Group], measure: str, level: float) -> list[dict[str, Any]]:
    """Compare each group's final system with the first group's, and with its own baseline, on the same repeats."""
    pairs = [(group, group.final, groups[0], groups[0].final) for group in groups[1:]]
    for group in groups:
        kinds = {row["name"]: row["kind"] for _, metrics in group.runs for row in metrics["systems"]}
        pairs += [(group, group.final, group, name) for name, kind in kinds.items() if kind == "baseline"]
    out = []
    for group, system, other, name in pairs:
        ours, theirs = group.units(system, measure), other.units(name, measure)
        found = [ours[unit] - theirs[unit] for unit in ours if unit in theirs]
        if not found:
            continue
        low, high = _t_interval(found, level) if len(found) > 1 else (None, None)
        named = {"label": group.label, "system": system, "with_label": other.label, "with_system": name}
        out.append({**named, "measure": measure, "mean": fmean(found), "low": low, "high": high, "pairs": len(found)})
    return out


def _t_interval(values: Sequence[float], level: float) -> tuple[float, float]:
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return fmean(values) - half, fmean(values) + half


def _table(found: dict[str, Any]) -> str:
    out = io.StringIO()
    names = ["label", "system", "kind", "training_documents", "runs", "interval"]
    numbers = ["mean", "deviation", "low", "high"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "measure", *numbers, "pooled"])
    for row in found["rows"]:
        for measure, measured in row["measures"].items():
            pooled = (row["pooled"] or {}).get(measure)
            writer.writerow([*(row[name] for name in names), measure, *(measured[name] for name in numbers), pooled])
    return out.getvalue()
