"""Quality rules: thresholds on what quality.py measures, by language, as data (rules.toml) that a recipe can change."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from ulmfit_dist.crawl.quality import MEASURES

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT, UNSPACED = "default", "unspaced"
Thresholds = dict[str, dict[str, float]]
# In one rule's reason a document is dropped: the first, in this order, that it breaks.
RULES = tuple(
    f"{bound}_{name}" for name in MEASURES if name != UNSPACED for bound in ("min", "max")
)  # what is measured decides the order: length before repetition
FLAGGED_SHARE = 0.6
_MIN_FLAGGED = 20


@functools.cache
def shipped() -> Thresholds:
    """Return the thresholds that the package comes with, {language, default or unspaced: {rule: value}}."""
    text = resources.files("ulmfit_dist.crawl").joinpath("rules.toml").read_text(encoding="utf-8")
    return {name: {rule: float(value) for rule, value in table.items()} for name, table in tomllib.loads(text).items()}


def thresholds_for(language: str, changes: Mapping[str, Mapping[str, float]], *, unspaced: bool) -> dict[str, float]:
    """Return {rule: threshold} of a language: shipped values, then `changes`; each from the general to the language."""
    out: dict[str, float] = {}
    for table in (shipped(), changes):
        for name in (DEFAULT, *([UNSPACED] if unspaced else []), language):
            out.update(table.get(name, {}))
    return out


def unknown_rules(changes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the names in `changes` that are no rule."""
    return sorted({rule for table in changes.values() for rule in table} - set(RULES))


def judge(measures: np.ndarray, languages: np.ndarray, changes: Mapping[str, Mapping[str, float]]) -> np.ndarray:
    """Return for each document 0, or 1 + the place in RULES of the first rule that it breaks, uint8.

    measures: (n, NUM_MEASURES) float32; what is NaN breaks no rule. languages: (n,) of bytes.
    """
    broken = np.zeros(len(measures), np.uint8)
    unspaced = measures[:, MEASURES.index(UNSPACED)] == 1
    for language in np.unique(languages):
        for is_unspaced in (False, True):
            mine = np.flatnonzero((languages == language) & (unspaced == is_unspaced))
            limits = thresholds_for(language.decode(), changes, unspaced=is_unspaced)
            # The last that is written stands: the first rule in order is written last.
            for rule in reversed(RULES):
                if rule in limits:
                    column = measures[mine, MEASURES.index(rule[4:])]
                    bad = column < limits[rule] if rule.startswith("min_") else column > limits[rule]
                    broken[mine[bad]] = 1 + RULES.index(rule)
    return broken


def flagged(by_language: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    """Return {language: {rule: share}} of the rules that drop over 60 % of what a language's documents they judge.

    by_language: {language: {reason: documents}}, "" for those kept. Under 20 documents nothing is said.
    """
    out: dict[str, dict[str, float]] = {}
    for language, reasons in by_language.items():
        judged = sum(count for reason, count in reasons.items() if not reason or reason in RULES)
        for rule in RULES:
            if judged >= _MIN_FLAGGED and reasons.get(rule, 0) > FLAGGED_SHARE * judged:
                out.setdefault(language, {})[rule] = round(reasons[rule] / judged, 4)
    return out
