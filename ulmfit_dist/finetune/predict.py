"""From texts to predictions with one classifier: class probabilities, or the value of a regression.

Results come back in the order of the input, and do not depend on which texts were predicted together: on a CPU texts
lie in lanes without padding when they are many (`models.document_lanes`), else in batches of like length whose padding
is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ulmfit_dist.corpus.lanes import reverse_document
from ulmfit_dist.finetune.metrics import Floats
from ulmfit_dist.modelfolder.folder import load_classifier
from ulmfit_dist.models.classifier import TextClassifier
from ulmfit_dist.models.packed_lstm import Precision
from ulmfit_dist.models.targets import TargetConfig, predictions
from ulmfit_dist.tokenization.tokenizer import Tokenizer
from ulmfit_dist.training.classifier import predict_logits
from ulmfit_dist.training.device import pick_device
from ulmfit_dist.training.group import Group

Unit = Literal["word", "subword"]
Direction = Literal["forward", "backward"]


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier with what it needs to read text."""

    model: TextClassifier
    tokenizer: Tokenizer
    unit: Unit
    direction: Direction
    labels: tuple[str, ...]
    target: TargetConfig
    precision: Precision = "float32"

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return predictions in input order: (N, C)."""
        documents = encode_documents(self.tokenizer, self.direction, texts)
        return predict_encoded(self.model, documents, self.target, precision=self.precision)


def open_classifier(folder: Path, precision: Precision = "float32") -> LoadedClassifier:
    """Load a classifier folder, ready to predict: on a GPU where this process has one, int8 always on the CPU."""
    model, tokenizer, config = load_classifier(folder)
    model.to(pick_device("auto" if precision == "float32" else "cpu"))
    labels = tuple(config.labels)
    return LoadedClassifier(model, tokenizer, config.unit, config.direction, labels, config.target, precision)


def predict_encoded(
    classifier: TextClassifier,
    documents: Sequence[NDArray[np.int64]],
    target: TargetConfig | None = None,
    group: Group | None = None,
    precision: Precision = "float32",
) -> Floats:
    """Return predictions for encoded documents in input order: probabilities (N, C) float64, or values (N, 1).

    The ranks of a group share the documents; each gets all predictions.
    """
    target = target or TargetConfig()
    found = predictions(target.kind, predict_logits(classifier, documents, group, precision).double()).numpy()
    if target.kind == "regression":
        found = found * target.scale + target.center
    return np.asarray(found, dtype=np.float64)


def encode_documents(tokenizer: Tokenizer, direction: Direction, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return each text's ids as the classifier reads them: mirrored for a backward model."""
    documents = [encoded.ids.astype(np.int64) for encoded in tokenizer.encode(texts)]
    return documents if direction == "forward" else [reverse_document(ids) for ids in documents]
