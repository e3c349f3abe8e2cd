"""The systems of the final table, and what is measured of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ulmfit_dist.events import Reporter
from ulmfit_dist.finetune.bootstrap import BootstrapSettings, intervals, paired
from ulmfit_dist.finetune.calibration import as_answers, bin_rows
from ulmfit_dist.finetune.labelled import LabelledDocuments
from ulmfit_dist.finetune.measures import Measures, measures_of
from ulmfit_dist.finetune.members import Ensemble
from ulmfit_dist.finetune.metrics import Floats, Targets, confusion_matrix, label_scores, score_rows
from ulmfit_dist.models.targets import TargetConfig

_CURVE_POINTS = 200
ONE_CLASS = ("multiclass", "ordinal")


@dataclass(frozen=True, slots=True)
class System:
    """One row of the final table; kind is `member`, `ensemble`, `baseline` or `majority`, predictions are (N, C).

    `target` says what the predictions mean, with the system's own thresholds.
    """

    name: str
    kind: str
    predictions: Floats
    target: TargetConfig
    facts: Mapping[str, Any]

    @property
    def measures(self) -> Measures:
        """What is measured of these predictions."""
        return measures_of(self.target.kind, self.predictions.shape[1])

    @property
    def predicted(self) -> Targets:
        """What is predicted for each document, in the form of the targets."""
        return self.measures.predicted(self.predictions, self.target)


def model_systems(ensemble: Ensemble, test: LabelledDocuments, reporter: Reporter) -> list[System]:
    """Return every member and, where there are several, the ensemble."""
    rows, raw = ensemble.config.members, []
    for index, row in enumerate(rows):
        raw.append(ensemble.predict_member(index, test.ids, test.texts))
        reporter.progress(index + 1, len(rows), member=row.name)
    systems = []
    for row, member, classifier in zip(rows, raw, ensemble.classifiers, strict=True):
        facts: dict[str, Any] = {"unit": row.unit, "direction": row.direction}
        systems.append(System(row.name, "member", member.probabilities, classifier.target, facts))
    if ensemble.is_single:
        return systems
    facts = {"members": [row.name for row in rows], "method": ensemble.config.method}
    return [*systems, System("ensemble", "ensemble", ensemble.combine(raw), ensemble.config.target, facts)]


def measure(system: System, test: LabelledDocuments, settings: BootstrapSettings) -> dict[str, Any]:
    """Return a system's row of metrics.json: its measures with intervals, then what its kind of target allows."""
    measures, predicted = system.measures, system.predicted
    rows = measures.rows(test.targets, predicted)
    found = intervals(rows, measures.statistics, settings)
    row = {
        "name": system.name,
        "kind": system.kind,
        **system.facts,
        **{name: asdict(interval) for name, interval in found.items()},
        **measures.scores(system.predictions, test.targets),
        # Those of several test splits add up, and give the measures of all of their documents.
        "sums": rows.sum(0).tolist(),
    }
    if test.kind == "multilabel":
        row["thresholds"] = system.target.thresholds
        row["per_class"] = label_scores(test.targets, predicted, list(test.labels))
        row["calibration"] = bin_rows(as_answers(system.predictions), test.targets.ravel())
    elif test.kind in ONE_CLASS:
        confusion = confusion_matrix(test.targets, predicted, len(test.labels))
        row["per_class"] = score_rows(confusion, list(test.labels))
        row["confusion"] = confusion.tolist()
        row["calibration"] = bin_rows(system.predictions, test.targets)
    return row


def compare(
    final: System, systems: Sequence[System], test: LabelledDocuments, settings: BootstrapSettings
) -> list[dict[str, Any]]:
    """Compare the final system with the member that is best on test, the baseline and the majority class.

    Compared is the first headline measure. Taking the best member after the fact favours the member, so an ensemble
    that wins has won.
    """
    measures, name = final.measures, final.measures.headline[0]

    def values(sums: Floats) -> Floats:
        return measures.statistics(sums)[name]

    rows = {system.name: measures.rows(test.targets, system.predicted) for system in systems}
    members = [s for s in systems if s.kind == "member" and s is not final]
    best = max(members, key=lambda s: float(values(rows[s.name].sum(0, keepdims=True))[0]), default=None)
    others = [s for s in systems if s is best or s.kind in ("baseline", "majority")]
    return [
        {
            "of": final.name,
            "with": other.name,
            "kind": other.kind,
            "measure": name,
            **asdict(paired(rows[final.name], rows[other.name], values, settings)),
        }
        for other in others
    ]


def disagreement(systems: Sequence[System], test: LabelledDocuments) -> dict[str, Any]:
    """Return for each pair of members how often they differ and which is right, and the share that any has right.

    Shares of the documents; of several labels a document is right when all are. `kappa` is Cohen's, of one class.
    Members that err in the same places gain nothing together, however good each one is.
    """
    from sklearn.metrics import cohen_kappa_score

    members = [system for system in systems if system.kind == "member"]
    if len(members) < 2 or test.kind == "regression":
        return {"pairs": []}
    right = {system.name: _all_equal(system.predicted, test.targets) for system in members}
    pairs = []
    for a, b in combinations(members, 2):
        one, other = right[a.name], right[b.name]
        row = {
            "members": [a.name, b.name],
            "differ": float((~_all_equal(a.predicted, b.predicted)).mean()),
            "both_right": float((one & other).mean()),
            "only_first_right": float((one & ~other).mean()),
            "only_second_right": float((~one & other).mean()),
            "both_wrong": float((~one & ~other).mean()),
        }
        if test.kind in ONE_CLASS:
            classes = list(range(len(test.labels)))
            # Of two systems that always give one class kappa is 0 / 0: they agree wholly.
            row["kappa"] = float(np.nan_to_num(cohen_kappa_score(a.predicted, b.predicted, labels=classes), nan=1.0))
        pairs.append(row)
    any_right = np.any(list(right.values()), axis=0)
    return {"pairs": pairs, "any_right": float(any_right.mean()), "all_wrong": float((~any_right).mean())}


def binary_curves(system: System, test: LabelledDocuments) -> dict[str, list[list[float]]] | None:
    """Return the ROC curve (false, true positive rate) and the precision-recall curve (recall, precision) of class 1.

    None unless there are two classes and the test split has both. At most 200 points each.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    if test.kind != "multiclass" or len(test.labels) != 2 or len(np.unique(test.targets)) != 2:
        return None
    scores = system.predictions[:, 1]
    false, true, _ = roc_curve(test.targets, scores)
    precision, recall, _ = precision_recall_curve(test.targets, scores)
    return {"roc": _thinned(false, true), "precision_recall": _thinned(recall, precision)}


def _all_equal(a: Targets, b: Targets) -> Targets:
    return np.asarray((a == b).all(1) if a.ndim > 1 else a == b)


def _thinned(x: Floats, y: Floats) -> list[list[float]]:
    chosen = np.unique(np.linspace(0, len(x) - 1, _CURVE_POINTS).astype(np.int64))
    return [[float(x[i]), float(y[i])] for i in chosen]
