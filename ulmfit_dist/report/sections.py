"""The report's tables as plain values for the template, each from the files of a few stages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ulmfit_dist.corpus.documents import MANIFEST_NAME, read_manifest
from ulmfit_dist.files import fingerprint, read_json
from ulmfit_dist.report.run import CURVES_NAME, TRIALS_NAME, RunFiles, StageFiles, member_of

_DIGESTS_NAME = "source-digests.json"
_LARGEST_CONFUSION = 12  # classes; beyond that a table is no longer read, and the worst pairs are listed
_WORST_PAIRS = 15
_MEASURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "r2": "r2",
    "mae": "mean absolute error",
}


def head(run: RunFiles) -> dict[str, Any]:
    """Return name, time, duration and hosts of the run."""
    done = [stage for stage in run.stages if stage.record]
    times = [event["time"] for event in run.events]
    return {
        "name": run.folder.resolve().name,
        "finished": datetime.fromtimestamp(max(times), UTC).strftime("%d %B %Y, %H:%M UTC") if times else "",
        "stages": len(run.stages),
        "done": len(done),
        "unfinished": [stage.name for stage in run.stages if not stage.record],
        "stage_seconds": sum(stage.seconds for stage in done),
        "wall_seconds": _wall_seconds(run),
        "hosts": sorted({stage.record["host"] for stage in done}),
    }


def language_models(run: RunFiles) -> list[dict[str, Any]]:
    """Return a row for each pretrained and fine-tuned language model: perplexity, bits per character, unknown rate."""
    rows = []
    for phase, prefix in (("pretrained", "pretrain"), ("fine-tuned", "finetune")):
        for stage in run.of(prefix):
            if stage.record:
                metrics = {"coverage": None, **stage.summary.get("metrics", {})}
                rows.append({"phase": phase, "member": member_of(stage.name), "tokens_per_s": speed(stage), **metrics})
    return rows


def searches(run: RunFiles) -> list[dict[str, Any]]:
    """Return each search's trials, the best first and then by how far they came; empty without a search."""
    found = []
    for stage in run.of("classifier"):
        trials = stage.json(TRIALS_NAME)
        if trials is None or not stage.record:
            continue
        best = trials["best"]
        rows = sorted(trials["trials"], key=lambda row: (row["trial"] != best, -row["epochs"], row["trial"]))
        short = [name.removeprefix("classifier.") for name in trials["parameters"]]
        shown = [{**row, "drawn": [row["settings"].get(name) for name in trials["parameters"]]} for row in rows]
        found.append({"member": member_of(stage.name), **trials, "short": short, "rows": shown})
    return found


def speed(stage: StageFiles, unit: str = "tokens") -> float | None:
    """Return a training's tokens (or documents) a second over its curve's points, None where there are none."""
    points = (stage.json(CURVES_NAME) or {}).get("points", [])
    speeds = [float(point[f"{unit}_per_s"]) for point in points if point.get(f"{unit}_per_s")]
    # Points are equal amounts of work: the mean speed is the harmonic one.
    return len(speeds) / sum(1 / speed for speed in speeds) if speeds else None


def confusion(row: dict[str, Any], labels: list[str]) -> dict[str, Any] | None:
    """Return the confusion table of a system with shares for shading, and its most frequent wrong pairs.

    None where a document has not one class.
    """
    if "confusion" not in row:
        return None
    counts = row["confusion"]
    rows = [
        {"label": label, "cells": [{"count": n, "share": n / max(sum(line), 1)} for n in line], "total": sum(line)}
        for label, line in zip(labels, counts, strict=True)
    ]
    pairs = [
        {"label": labels[i], "predicted": labels[j], "count": n}
        for i, line in enumerate(counts)
        for j, n in enumerate(line)
        if i != j and n
    ]
    pairs.sort(key=lambda pair: -int(pair["count"]))
    return {"small": len(labels) <= _LARGEST_CONFUSION, "rows": rows, "pairs": pairs[:_WORST_PAIRS]}


def stage_times(run: RunFiles) -> list[dict[str, Any]]:
    """Return the seconds of each finished stage, with its share of the longest one."""
    done = [stage for stage in run.stages if stage.record]
    longest = max((stage.seconds for stage in done), default=0.0) or 1.0
    return [
        {
            "name": stage.name,
            "seconds": stage.seconds,
            "share": stage.seconds / longest,
            "tokens_per_s": speed(stage),
            "documents_per_s": speed(stage, "documents"),
        }
        for stage in done
    ]


def sources(run: RunFiles) -> list[dict[str, Any]]:
    """Return every file or folder that the ingests read: name, bytes and digest (from the run's digest cache)."""
    path = run.folder / _DIGESTS_NAME
    known = {Path(name): entry for name, entry in read_json(path).items()} if path.is_file() else {}
    return [
        {"stage": stage.name, **_source(Path(source), known)}
        for stage in run.of("ingest")
        for source in stage.record.get("inputs", {}).values()
    ]


def splits(run: RunFiles) -> list[dict[str, Any]]:
    """Return what each split of each ingest holds: documents, kept ones, characters, decisions with their counts."""
    rows = []
    for stage in run.of("ingest"):
        for manifest in sorted(stage.folder.glob(f"*/{MANIFEST_NAME}")):
            found = read_manifest(manifest.parent)
            rows.append(
                {
                    "stage": stage.name,
                    "split": manifest.parent.name,
                    "documents": found.rows,
                    "kept": found.kept,
                    "characters": found.characters,
                    "decisions": found.decisions,
                }
            )
    return rows


def decision_matrix(split_rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the decision and reason of every ingested document: a row for each pair, a column for each split."""
    names = sorted({name for row in split_rows for name in row["decisions"]}, key=lambda name: (name != "keep", name))
    return {
        "columns": [f"{row['stage'].removeprefix('ingest-')} {row['split']}" for row in split_rows],
        "rows": [
            {
                "decision": name.partition(":")[0],
                "reason": name.partition(":")[2],
                "counts": [row["decisions"].get(name, 0) for row in split_rows],
            }
            for name in names
        ],
    }


def seeds(run: RunFiles) -> list[dict[str, Any]]:
    """Return every seed in the stages' settings, equal ones of one key together."""
    found: dict[tuple[str, int], list[str]] = {}
    for stage in run.stages:
        for key, value in _seeds_in(stage.record.get("settings", {})):
            found.setdefault((key, value), []).append(stage.name)
    return [{"key": key, "value": value, "stages": names} for (key, value), names in sorted(found.items())]


def versions(run: RunFiles) -> dict[str, str]:
    """Return the versions that the stages ran with; several of one library are all named."""
    found: dict[str, set[str]] = {}
    for stage in run.stages:
        for name, version in stage.record.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(values)) for name, values in sorted(found.items())}


def temperatures(stage: StageFiles | None) -> list[dict[str, Any]]:
    """Return the temperatures of members and ensemble and their calibration on the validation split before and after.

    Empty where there are no probabilities.
    """
    summary = stage.summary if stage else {}
    rows = [{"name": name, **row} for name, row in summary.get("members", {}).items()]
    if "before" in summary:
        names = {"name": "ensemble", "temperature": summary["temperature"]}
        rows.append({**names, "before": summary["before"], "after": summary["metrics"]})
    return [row for row in rows if "ece" in row["before"]]


def headline(metrics: dict[str, Any]) -> list[dict[str, str]]:
    """Return the measures of the result's table, with their names: the first two of the headline."""
    return [{"key": key, "name": _MEASURES[key]} for key in metrics["headline"][:2]]


def _source(source: Path, known: dict[Path, list[Any]]) -> dict[str, Any]:
    if source in known:
        size, _, digest = known[source]
        return {"name": source.name, "bytes": size, "digest": digest}
    inside = sorted(path for path in known if source in path.parents)
    if not inside:
        return {"name": source.name, "bytes": None, "digest": ""}
    # The digest of a folder as the run's plan has it: over the names and digests of what is inside.
    digest = fingerprint([[str(path.relative_to(source)), known[path][2]] for path in inside])
    size = sum(known[path][0] for path in inside)
    return {"name": f"{source.name}/ ({len(inside)} files)", "bytes": size, "digest": digest}


def _seeds_in(settings: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _seeds_in(value, f"{prefix}{key}.")
        elif key.endswith("seed") and isinstance(value, int):
            yield f"{prefix}{key}", value


def _wall_seconds(run: RunFiles) -> float:
    total, started = 0.0, None
    for event in run.events:
        if event["kind"] == "run-started":
            started = event["time"]
        elif event["kind"] == "run-finished" and started is not None:
            total, started = total + event["time"] - started, None
    return total
