"""The systems of the final table, and what is measured of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ulmfit_dist.events import Reporter
from ulmfit_dist.finetune.baseline import BaselineSettings, LabelledTexts, fit_baseline
from ulmfit_dist.finetune.bootstrap import BootstrapSettings, intervals, paired_accuracy
from ulmfit_dist.finetune.calibration import bin_rows, expected_calibration_error
from ulmfit_dist.finetune.labelled import LabelledDocuments
from ulmfit_dist.finetune.members import Ensemble
from ulmfit_dist.finetune.metrics import Floats, Ints, confusion_matrix, negative_log_likelihood, score_rows


@dataclass(frozen=True, slots=True)
class System:
    """One row of the final table; kind is `member`, `ensemble`, `baseline` or `majority`, probabilities are (N, C)."""

    name: str
    kind: str
    probabilities: Floats
    facts: Mapping[str, Any]

    @property
    def predicted(self) -> Ints:
        """The likeliest class of each document: (N,)."""
        return np.asarray(self.probabilities.argmax(1), dtype=np.int64)


def model_systems(ensemble: Ensemble, test: LabelledDocuments, reporter: Reporter) -> list[System]:
    """Return every member and, where there are several, the ensemble."""
    rows, raw = ensemble.config.members, []
    for index, row in enumerate(rows):
        raw.append(ensemble.predict_member(index, test.ids, test.texts))
        reporter.progress(index + 1, len(rows), member=row.name)
    systems = [
        System(row.name, "member", member.probabilities, {"unit": row.unit, "direction": row.direction})
        for row, member in zip(rows, raw, strict=True)
    ]
    if ensemble.is_single:
        return systems
    return [*systems, System("ensemble", "ensemble", ensemble.combine(raw), {"members": [row.name for row in rows]})]


def majority_system(train: LabelledDocuments, test: LabelledDocuments) -> System:
    """Return the system that gives every document the classes' shares of the training split."""
    counts = np.bincount(train.targets, minlength=len(test.labels))
    shares = np.tile(counts / counts.sum(), (len(test.documents), 1))
    return System("majority class", "majority", shares, {"label": test.labels[int(counts.argmax())]})


def baseline_system(
    train: LabelledDocuments, valid: LabelledDocuments, test: LabelledDocuments, settings: BaselineSettings
) -> System:
    """Return the tf-idf baseline fitted on the members' own training and validation splits."""
    baseline = fit_baseline(
        LabelledTexts(train.texts, train.targets),
        LabelledTexts(valid.texts, valid.targets),
        len(test.labels),
        settings,
    )
    facts = {"C": baseline.strength, "valid_accuracy": baseline.valid_accuracy}
    return System("tf-idf + LR", "baseline", baseline.predict(test.texts), facts)


def measure(system: System, test: LabelledDocuments, settings: BootstrapSettings) -> dict[str, Any]:
    """Return a system's row of metrics.json."""
    accuracy, macro_f1 = intervals(test.targets, system.predicted, len(test.labels), settings)
    confusion = confusion_matrix(test.targets, system.predicted, len(test.labels))
    return {
        "name": system.name,
        "kind": system.kind,
        **system.facts,
        "accuracy": asdict(accuracy),
        "macro_f1": asdict(macro_f1),
        "nll": negative_log_likelihood(system.probabilities, test.targets),
        "ece": expected_calibration_error(system.probabilities, test.targets),
        "calibration": bin_rows(system.probabilities, test.targets),
        "per_class": score_rows(confusion, list(test.labels)),
        "confusion": confusion.tolist(),
    }


def compare(
    final: System, systems: Sequence[System], test: LabelledDocuments, settings: BootstrapSettings
) -> list[dict[str, Any]]:
    """Compare the final system with the member that is best on test, the baseline and the majority class.

    Taking the best member after the fact favours the member, so an ensemble that wins has won.
    """
    members = [s for s in systems if s.kind == "member" and s is not final]
    best = max(members, key=lambda s: float((s.predicted == test.targets).mean()), default=None)
    others = [s for s in systems if s is best or s.kind in ("baseline", "majority")]
    return [
        {
            "of": final.name,
            "with": other.name,
            "kind": other.kind,
            **asdict(paired_accuracy(test.targets, final.predicted, other.predicted, settings)),
        }
        for other in others
    ]
