"""Predictions from a model or ensemble folder, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmfit_dist.crawl.normalise import normalise
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.measures import measures_of
from ulmfit_dist.finetune.members import Ensemble, open_ensemble
from ulmfit_dist.finetune.metrics import Floats
from ulmfit_dist.models.packed_lstm import Precision


@dataclass(frozen=True)
class Predictor:
    """A loaded model or ensemble folder."""

    ensemble: Ensemble

    @classmethod
    def open(cls, folder: Path, precision: Precision = "float32") -> Predictor:
        """Load a classifier or an ensemble folder; InputError when there is none at that path."""
        if not folder.is_dir():
            raise InputError(
                f"no model folder at {folder}", do="give the folder that holds config.json or ensemble.json"
            )
        return cls(open_ensemble(folder, precision))

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the probability columns."""
        return self.ensemble.labels

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return class probabilities in input order: (N, C) float64, rows sum to 1; of a regression values (N, 1).

        Of several labels at once each column is a probability of its own. Texts are normalised as in ingest; a text's
        predictions do not depend on the texts beside it.
        """
        return self.ensemble.predict([normalise(text) for text in texts])

    def answers(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return for each text, in input order, what is predicted.

        {"label", "probabilities"} for one class; {"labels", "probabilities"} for several labels, those from their
        thresholds on; {"value"} for a regression.
        """
        predictions, target = self.predict(texts), self.ensemble.config.target
        if target.kind == "regression":
            return [{"value": float(row[0])} for row in predictions]
        chosen = measures_of(target.kind, len(self.labels)).predicted(predictions, target)
        found = []
        for row, choice in zip(predictions, chosen, strict=True):
            answer: dict[str, Any] = {"probabilities": dict(zip(self.labels, row.tolist(), strict=True))}
            if target.kind == "multilabel":
                answer["labels"] = [label for label, given in zip(self.labels, choice, strict=True) if given]
            else:
                answer["label"] = self.labels[int(choice)]
            found.append(answer)
        return found
