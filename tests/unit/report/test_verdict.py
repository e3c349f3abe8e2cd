"""The sentences on who won say no more than the numbers."""

from __future__ import annotations

from typing import Any

from ulmfit_dist.report.verdict import verdict


def metrics(ensemble: float, baseline: float, p_value: float, member: float = 0.6) -> dict[str, Any]:
    def row(name: str, kind: str, value: float, **facts: str) -> dict[str, Any]:
        return {
            "name": name,
            "kind": kind,
            "accuracy": {"value": value, "low": value - 0.02, "high": value + 0.02},
        } | facts

    difference = ensemble - baseline
    comparison = {"low": difference - 0.01, "high": difference + 0.01, "p_value": p_value, "difference": difference}
    return {
        "headline": ["accuracy", "macro_f1"],
        "test": {"documents": 1234},
        "bootstrap": {"level": 0.95},
        "systems": [
            row("word-forward", "member", member),
            row("ensemble", "ensemble", ensemble),
            row("tf-idf + LR", "baseline", baseline),
            row("majority class", "majority", 0.5, label="neg"),
        ],
        "comparisons": [comparison | {"of": "ensemble", "with": "tf-idf + LR", "kind": "baseline"}],
    }


def test_a_clear_win() -> None:
    said = verdict(metrics(0.8, 0.75, 0.0005))
    assert said[0].startswith("The most accurate on the 1,234 test documents is the ensemble: 80.0 %")
    assert "The ensemble beats tf-idf + logistic regression by 5.0 points" in said[1]
    assert "p < 0.001" in said[1]
    assert len(said) == 2


def test_a_clear_defeat_is_said_with_its_reason() -> None:
    said = verdict(metrics(0.7, 0.75, 0.002))
    assert "is tf-idf + logistic regression: 75.0 % (95 % interval 73.0 % to 77.0 %)" in said[0]
    assert "loses to tf-idf + logistic regression by 5.0 points" in said[1]
    assert "95.4 %" in said[2]


def test_no_clear_difference() -> None:
    said = verdict(metrics(0.76, 0.75, 0.3))
    assert "no clear difference" in said[1]
    assert "p = 0.300" in said[1]
    assert "beats" not in " ".join(said)


def test_a_member_that_learned_nothing_is_named() -> None:
    said = verdict(metrics(0.8, 0.75, 0.001, member=0.5))
    assert said[-1] == "No better than always answering 'neg': word-forward."
