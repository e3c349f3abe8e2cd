"""Predictions from a model or ensemble folder, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ulmfit_dist.crawl.normalise import normalise
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.members import Ensemble, open_ensemble
from ulmfit_dist.finetune.metrics import Floats


@dataclass(frozen=True)
class Predictor:
    """A loaded model or ensemble folder."""

    ensemble: Ensemble

    @classmethod
    def open(cls, folder: Path) -> Predictor:
        """Load a classifier or an ensemble folder; InputError when there is none at that path."""
        if not folder.is_dir():
            raise InputError(
                f"no model folder at {folder}", do="give the folder that holds config.json or ensemble.json"
            )
        return cls(open_ensemble(folder))

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the probability columns."""
        return self.ensemble.labels

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return class probabilities in input order: (N, C) float64, rows sum to 1.

        Texts are normalised as in ingest and batched by length inside; a text's probabilities do not depend on the
        texts beside it.
        """
        return self.ensemble.predict([normalise(text) for text in texts])
