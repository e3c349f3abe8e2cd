"""Make report.html of a run directory or of a crawl: everything inside the one file, nothing fetched."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ulmfit_dist.files import write_bytes
from ulmfit_dist.report import sections
from ulmfit_dist.report.comparison import comparison_context
from ulmfit_dist.report.crawl import crawl_context, read_crawl_stage
from ulmfit_dist.report.curves import binary_figures, loss_figures, rate_figures
from ulmfit_dist.report.figures import Axes, reliability_chart
from ulmfit_dist.report.languages import language_rows
from ulmfit_dist.report.run import COMPARISON_NAME, METRICS_NAME, REPORT_NAME, RunFiles, read_run
from ulmfit_dist.report.verdict import the_system, verdict

_TEMPLATE_NAME = "report.html.j2"
_CRAWL_TEMPLATE_NAME = "crawl.html.j2"
_SHOWN_MISTAKES = 8
_SHOWN_STAGES = 24


def render_report(run_dir: Path) -> Path:
    """Write report.html into the run directory from its files and return its path.

    A run that is not finished gives a report of what is there. Raises InputError when the folder is not a run.
    """
    run = read_run(run_dir)
    return _write(run_dir, _TEMPLATE_NAME, _context(run))


def render_crawl(folder: Path) -> Path:
    """Write report.html and report.json into the folder of a finished ingest and return the path of the first.

    Raises InputError when the folder is none.
    """
    stage = read_crawl_stage(folder)
    versions = stage.record.get("versions", {})
    context = {"crawl": crawl_context(stage), "duration": duration, "seconds": stage.seconds, "versions": versions}
    return _write(folder, _CRAWL_TEMPLATE_NAME, context)


def duration(seconds: float) -> str:
    """Say seconds as people do: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _context(run: RunFiles) -> dict[str, Any]:
    split_rows = sections.splits(run)
    return {
        "duration": duration,
        "shown_mistakes": _SHOWN_MISTAKES,
        "shown_stages": _SHOWN_STAGES,
        "head": sections.head(run),
        "languages": language_rows(run),
        "language_models": sections.language_models(run),
        "searches": sections.searches(run),
        "curves": loss_figures(run),
        "rates": rate_figures(run),
        "temperatures": sections.temperatures(run.one("ensemble")),
        "crawls": [crawl_context(stage) for stage in run.stages if "crawl" in stage.summary],
        "times": sections.stage_times(run),
        "sources": sections.sources(run),
        "splits": split_rows,
        "decisions": sections.decision_matrix(split_rows),
        "seeds": sections.seeds(run),
        "versions": sections.versions(run),
        "recipe": run.recipe,
        **_result(run),
        **comparison_context(_of(run, "compare", COMPARISON_NAME)),
    }


def _write(folder: Path, template: str, context: dict[str, Any]) -> Path:
    here = files("ulmfit_dist.report")
    loader = FunctionLoader(lambda name: (here / name).read_text(encoding="utf-8"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    path = folder / REPORT_NAME
    write_bytes(path, environment.get_template(template).render(**context).encode())
    return path


def _calibration_figures(final: dict[str, Any]) -> list[Markup]:
    if "calibration" not in final:
        return []
    axes = Axes("reliability", f"{final['name']}, test documents", "confidence", "accuracy")
    return [reliability_chart(axes, final["calibration"])]


def _of(run: RunFiles, stage: str, name: str) -> Any:
    found = run.one(stage)
    return found.json(name) if found else None


def _result(run: RunFiles) -> dict[str, Any]:
    metrics = _of(run, "evaluate", METRICS_NAME)
    if metrics is None:
        return {"metrics": None}
    final = next(row for row in metrics["systems"] if row["name"] == metrics["final"])
    return {
        "metrics": metrics,
        "headline": sections.headline(metrics),
        "verdict": verdict(metrics),
        "systems": metrics["systems"],
        "final": final,
        "the_final": the_system(final),
        "confusion": sections.confusion(final, metrics["labels"]),
        "calibration_figures": _calibration_figures(final),
        "binary_figures": binary_figures(metrics["curves"]),
    }
