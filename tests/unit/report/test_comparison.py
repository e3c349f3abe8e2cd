"""Runs side by side in the report: every row, a curve over the labels, rows of variants, and who the baseline beats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.files import write_json
from ulmfit_dist.report.comparison import comparison_context
from ulmfit_dist.report.render import render_report


def _row(label: str, settings: dict[str, Any], kind: str = "member", mean: float = 0.8) -> dict[str, Any]:
    measured = {"mean": mean, "deviation": 0.01, "low": mean - 0.02, "high": mean + 0.02, "values": [mean] * 3}
    return {
        "label": label,
        "settings": settings,
        "system": {"member": "word-forward", "baseline": "tf-idf + LR", "majority": "majority class"}[kind],
        "kind": kind,
        "final": kind == "member",
        "training_documents": settings.get("classifier.train_size"),
        "runs": 3,
        "interval": "t over 3 runs",
        "measures": {"accuracy": measured},
        "pooled": None,
    }


def _found(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    compared = list(dict.fromkeys(key for row in rows for key in row["settings"]))
    found = {"headline": ["accuracy"], "level": 0.95, "compared": compared, "rows": rows, "differences": []}
    return found | changes


def _low_shot() -> dict[str, Any]:
    rows = []
    for variant in ("supervised", "scratch"):
        for size in (1000, 100):
            settings = {"variant": variant, "classifier.train_size": size}
            label = f"{variant},train_size={size}"
            rows += [
                _row(label, settings),
                _row(label, settings, "baseline", 0.7),
                _row(label, settings, "majority", 0.5),
            ]
    return _found(rows)


def test_without_a_comparison_nothing_is_shown() -> None:
    assert comparison_context(None) == {"comparison": None}


def test_every_system_but_the_majority_has_its_row() -> None:
    shown = comparison_context(_low_shot())["comparison"]
    assert len(shown["rows"]) == 8
    assert shown["rows"][1] == shown["rows"][1] | {"mean": 0.7, "low": pytest.approx(0.68), "kind": "baseline"}


def test_a_low_shot_curve_has_a_line_a_variant_and_one_baseline_on_a_logarithmic_axis() -> None:
    (figure,) = comparison_context(_low_shot())["comparison_figures"]
    text = re.sub(r"\s+", " ", figure)
    for label in ("supervised", "scratch", "tf-idf + LR", "labelled documents", "100", "1k"):
        assert text.count(f">{label}<") == 1
    assert "By the number of labels: accuracy over labelled documents" in text
    assert text.count('id="low-shot-FillBetween') == 3


def test_variants_are_rows_with_their_intervals() -> None:
    rows = [_row(name, {"variant": name}, mean=mean) for name, mean in (("ulmfit", 0.9), ("chain-thaw", 0.85))]
    (figure,) = comparison_context(_found(rows))["comparison_figures"]
    assert 0 < figure.index(">ulmfit<") < figure.index(">chain-thaw<")


def test_seeds_alone_are_a_table_without_a_chart() -> None:
    assert comparison_context(_found([_row("", {})]))["comparison_figures"] == []


def test_where_the_baseline_wins_it_is_said() -> None:
    def difference(label: str, mean: float, high: float | None) -> dict[str, Any]:
        return {"label": label, "with_label": label, "with_system": "tf-idf + LR", "mean": mean, "high": high}

    rows = [difference("a", -0.05, -0.01), difference("b", -0.01, 0.02), difference("c", 0.1, 0.2)]
    sentences = comparison_context(_found([_row("a", {})], differences=rows))["comparison"]["sentences"]
    assert sentences == [
        "tf-idf + LR wins in a, by 5.0 points.",
        "tf-idf + LR is ahead, within the interval in b, by 1.0 points.",
    ]


def test_the_report_of_a_sweep_shows_it(tmp_path: Path) -> None:
    folder = tmp_path / "stages" / "compare-00000000"
    write_json(folder / "comparison.json", _low_shot())
    record = {"summary": {}, "seconds": 1.0, "host": "h", "settings": {}, "versions": {}, "inputs": {}}
    write_json(folder / "stage.json", {"kind": "compare", **record})
    rows = [{"name": "compare", "kind": "compare", "folder": "stages/compare-00000000"}]
    write_json(tmp_path / "plan.json", {"stages": rows})
    page = render_report(tmp_path).read_text(encoding="utf-8")
    assert "Runs side by side" in page
    assert page.count("<td>word-forward</td>") == 4
    assert "78.0 – 82.0" in page
