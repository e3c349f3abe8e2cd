"""The table of a run over many languages: what each has, what its models measure, and why one has none."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ulmfit_dist.crawl.language import iso_code
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.report.run import RunFiles, StageFiles, member_of, read_run
from ulmfit_dist.stage import LABEL_MARK

LANGUAGES_NAME = "languages.json"
_MEASURES = ("perplexity", "bits_per_character", "unknown_rate")


def write_languages(run_dir: Path) -> bool:
    """Write `languages.json` (`language_rows`) into a run directory, none for a recipe without [languages].

    Returns whether it says anything else than before. Raises InputError when the folder is no run.
    """
    before, rows = read_languages(run_dir), language_rows(read_run(run_dir))
    if rows:
        write_json(run_dir / LANGUAGES_NAME, rows)
    else:
        (run_dir / LANGUAGES_NAME).unlink(missing_ok=True)
    return rows != before


def read_languages(run_dir: Path) -> list[dict[str, Any]]:
    """Return the rows that a run has written; none where it is of no languages."""
    path = run_dir / LANGUAGES_NAME
    return list(read_json(path)) if path.is_file() else []


def language_rows(run: RunFiles) -> list[dict[str, Any]]:
    """Return a row for each language or group of a run, in the recipe's order, and for each run of a grid over it.

    {language, documents, characters, state: done, failed or unfinished, reason, hours, members: [{member, tokens,
    perplexity, bits_per_character, unknown_rate, hours, model}]}. documents, characters and tokens are those of the
    training split; hours of all stages that only this language has; model: the folder below the run directory, None
    while a member is not done.
    """
    return [_row(run, name, label) for name, label in _labels(run)]


def _labels(run: RunFiles) -> Iterator[tuple[str, str]]:
    """Yield each language with the label of its stages, "" where the run is of one language."""
    table = tomllib.loads(run.recipe).get("languages") or {}
    labels = list(dict.fromkeys(_label(stage) for stage in run.stages if stage.name.startswith("pretrain-")))
    for name in (*table.get("separate", ()), *table.get("shared", ())):
        for label in labels:
            if name in label.split(",") or (not label and len(labels) == 1):
                yield name, label


def _row(run: RunFiles, name: str, label: str) -> dict[str, Any]:
    stages = [stage for stage in run.stages if _label(stage) == label and stage.kind not in ("ingest", "by-language")]
    members = [_member(run, stages, stage) for stage in stages if stage.kind == "pretrain"]
    failed = [reason for stage in stages if not stage.record and (reason := _reason(run, stage))]
    done = all(stage.record for stage in stages)
    counts = _training_text(run, stages, name)
    return {
        "language": label or name,
        "documents": counts.get("documents", 0),
        "characters": counts.get("characters", 0),
        "state": "done" if done else "failed" if failed else "unfinished",
        "reason": "; ".join(failed),
        "hours": _hours(stages),
        "members": members,
    }


def _member(run: RunFiles, stages: list[StageFiles], stage: StageFiles) -> dict[str, Any]:
    member = member_of(stage.name.partition(LABEL_MARK)[0])
    unit = member.partition("-")[0]
    streams = next(one for one in stages if one.name.partition(LABEL_MARK)[0] == f"tokenize-{unit}")
    metrics = stage.summary.get("metrics", {})
    return {
        "member": member,
        "tokens": streams.summary.get("splits", {}).get("train", {}).get("tokens"),
        **{name: metrics.get(name) for name in _MEASURES},
        "hours": _hours([stage]),
        "model": str((stage.folder / "model").relative_to(run.folder)) if stage.record else None,
    }


def _training_text(run: RunFiles, stages: list[StageFiles], name: str) -> dict[str, int]:
    """Return documents and characters of a language's training split; of a group's as it was resampled."""
    mixed = next((stage for stage in stages if stage.kind == "mix-languages"), None)
    if mixed is not None:
        return dict(mixed.summary.get("splits", {}).get("train", {}))
    sorted_ = next((stage for stage in run.stages if stage.kind == "by-language"), None)
    languages = sorted_.summary.get("languages", {}) if sorted_ else {}
    return dict(languages.get(iso_code(name), {}).get("train", {}))


def _reason(run: RunFiles, stage: StageFiles) -> str:
    told = [event["reason"] for event in run.events if event["kind"] == "stage-failed" and event["name"] == stage.name]
    return f"{stage.name.partition(LABEL_MARK)[0]}: {told[-1]}" if told else ""


def _hours(stages: list[StageFiles]) -> float:
    return round(sum(stage.seconds for stage in stages) / 3600, 4)


def _label(stage: StageFiles) -> str:
    return stage.name.partition(LABEL_MARK)[2]
