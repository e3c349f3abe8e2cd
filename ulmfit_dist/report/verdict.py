"""Who won, in sentences, from metrics.json alone: no word stronger than the paired intervals allow."""

from __future__ import annotations

from typing import Any

_SIGNIFICANT = 0.05
_BEST = {
    "accuracy": "most accurate",
    "micro_f1": "best by micro F1",
    "r2": "best by explained variance",
}
# Howard and Ruder 2018, table 2 (both directions); Wang and Manning 2012, NBSVM-bi: 91.2 %.
_AT_FULL_SIZE = (
    "That is common when the language models have read little: a linear model needs only the labels. At full size "
    "(a language model of 100 million words, 25,000 labelled IMDb reviews) ULMFiT is reported at 95.4 % and linear "
    "models on word pairs at about 91 %."
)


def percent(value: float, digits: int = 1) -> str:
    """Format a share as per cent."""
    return f"{100 * value:.{digits}f} %"


def verdict(metrics: dict[str, Any]) -> list[str]:
    """Return one sentence on the result, one on each comparison, and warnings about systems that learned nothing."""
    measure = metrics["headline"][0]
    systems = {row["name"]: row for row in metrics["systems"]}
    best = max(systems.values(), key=lambda row: _value(row, measure))
    found = best[measure]
    interval = f"{100 * metrics['bootstrap']['level']:g} % interval {percent(found['low'])} to {percent(found['high'])}"
    documents = f"{metrics['test']['documents']:,} test documents"
    sentences = [
        f"The {_BEST[measure]} on the {documents} is {the_system(best)}: {percent(found['value'])} ({interval})."
    ]
    sentences += [_comparison(row, systems) for row in metrics["comparisons"] if row["kind"] != "majority"]
    if any(row["kind"] == "baseline" and not _is_better(row) for row in metrics["comparisons"]):
        sentences.append(_AT_FULL_SIZE)
    majority = next((row for row in systems.values() if row["kind"] == "majority"), None)
    if majority is not None:
        least = _value(majority, measure)
        below = [n for n, row in systems.items() if _value(row, measure) <= least and row["kind"] != "majority"]
        if below:
            sentences.append(f"No better than always answering {majority['label']!r}: {', '.join(below)}.")
    return sentences


def _comparison(row: dict[str, Any], systems: dict[str, Any]) -> str:
    of, other = the_system(systems[row["of"]]), the_system(systems[row["with"]])
    points = f"{abs(100 * row['difference']):.1f} points"
    interval = f"difference {100 * row['low']:+.1f} to {100 * row['high']:+.1f} points"
    evidence = f"({interval}, paired bootstrap p {_p(row['p_value'])})"
    if row["p_value"] >= _SIGNIFICANT:
        return f"Between {of} and {other} there is no clear difference {evidence}."
    verb = "beats" if row["difference"] > 0 else "loses to"
    return f"{of[0].upper()}{of[1:]} {verb} {other} by {points} {evidence}."


def _is_better(row: dict[str, Any]) -> bool:
    return bool(row["difference"] > 0 and row["p_value"] < _SIGNIFICANT)


def the_system(row: dict[str, Any]) -> str:
    """Name a system as a sentence does."""
    names = {"ensemble": "the ensemble", "majority": "the majority class", "baseline": "tf-idf + logistic regression"}
    return names.get(row["kind"], f"the {row['name']} member")


def _value(row: dict[str, Any], measure: str) -> float:
    return float(row[measure]["value"])


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
