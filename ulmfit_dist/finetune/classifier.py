"""Target-task classifier fine-tuning (paper section 3.3): one member from one fine-tuned language model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import MANIFEST_NAME, read_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import digest_file, read_json, write_json
from ulmfit_dist.finetune.labelled import (
    LabelledDocuments,
    TargetSettings,
    read_labelled_documents,
    read_training_documents,
)
from ulmfit_dist.finetune.measures import measures_of, score
from ulmfit_dist.finetune.metrics import Floats, Targets
from ulmfit_dist.finetune.predict import Direction, encode_documents, predict_encoded
from ulmfit_dist.finetune.predictions import Predictions, write_predictions
from ulmfit_dist.finetune.pseudo import PseudoSettings, choose_pseudo_labels
from ulmfit_dist.finetune.subsets import smaller_part
from ulmfit_dist.finetune.thresholds import choose_thresholds
from ulmfit_dist.finetune.unfreezing import Unfreezing, with_unfreezing
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import load_language_model, save_classifier
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.targets import TargetConfig, num_outputs
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.tokenization.tokenizer import Tokenizer
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.classifier import (
    ClassifierData,
    ClassifierResult,
    ClassifierTrainingSettings,
    Ids,
    train_classifier_loop,
)
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.pretrain import RESULT_NAME
from ulmfit_dist.training.ranks import RankSettings

CURVES_NAME = "curves.json"
VALID_PREDICTIONS_NAME = "predictions-valid.parquet"
UNLABELLED = "unlabelled"
_DOCUMENTS = ("train", "valid", UNLABELLED)


class ClassifierSection(Settings):
    """How a classifier is trained."""

    unfreezing: Unfreezing = Field(
        default="2018",
        description="head, one layer more, all (2018); a layer an epoch (paper); four falling rates (v1); one cycle of "
        "all layers (multifit); layer by layer alone (chain-thaw); or the stages that `training` lists",
    )
    epochs: int = Field(default=2, ge=1, description="epochs of the last stage, in which all layers are trained")
    lr: float = Field(default=0.01, gt=0, description="highest rate of the head")
    drop_mult: float = Field(default=1.0, ge=0, le=2, description="multiplies the classifier's dropouts")
    train_size: int = Field(default=0, ge=0, description="train with so many of the labelled documents only; 0: all")
    targets: TargetSettings = Field(default=TargetSettings(), description="what the labels are")
    pseudo: PseudoSettings = Field(default=PseudoSettings(), description="rounds with pseudo-labels")
    classifier: ClassifierSettings = Field(default=ClassifierSettings(), description="head, dropouts, pooling")
    training: ClassifierTrainingSettings = Field(
        default=ClassifierTrainingSettings(), description="batches, schedule, optimizer"
    )


class TrainClassifierSettings(ClassifierSection, RankSettings):
    """How a classifier is trained, and on how many ranks."""


def train_classifier(call: StageCall[TrainClassifierSettings]) -> Summary:
    """Train a classifier on a language model's encoder; write out/model, predictions-valid.parquet and curves.json.

    Every rank of the process group calls this and gets the summary; rank 0 writes.
    Inputs: `model`, a language-model folder; `train` and `valid`, labelled document folders; for rounds of
    pseudo-labels `unlabelled`, a document folder. What the labels are is read from `train`, as `targets` says.
    Resumable: a second call continues from out/checkpoints.
    Raises InputError for an empty split, a document without a label, one label only, a label that is not what
    `targets` says, or a validation label unseen in training.
    """
    settings = call.settings
    train = read_training_documents(call.inputs["train"], settings.targets)
    if settings.train_size:
        train = smaller_part(train, settings.train_size, settings.training.seed)
    target = _target(train, settings.targets)
    valid = read_labelled_documents(call.inputs["valid"], train.labels, target)
    _check_pseudo(call, train)
    group = Group.current()
    member = _Member.load(call, target, group)
    found = member.train(train, valid)
    target = target.model_copy(update={"thresholds": _thresholds(found.predictions, valid)})
    measured = score(measures_of(valid.kind, len(valid.labels)), found.predictions, valid.targets, target)
    metrics = {**found.result.metrics, **measured}
    if group.rank == 0:
        config = _config(member, train, metrics).model_copy(update={"target": target})
        save_classifier(call.out / "model", found.model, member.tokenizer, config)
        predictions = {"probabilities": Predictions(valid.ids, valid.labels, found.predictions)}
        write_predictions(call.out / VALID_PREDICTIONS_NAME, predictions, valid.names)
        write_json(call.out / CURVES_NAME, found.result.curves)
        for checkpoints in member.checkpoints:
            checkpoints.clear()
    summary = {"metrics": metrics, "labels": list(train.labels), "documents": len(train.documents)}
    return summary | ({"rounds": found.rounds} if found.rounds else {})


def train_as_rank(call: StageCall[TrainClassifierSettings], group: Group) -> Summary:
    """Train as one rank of a group that a launcher has started; called again after the end it only gives the summary.

    Raises InputError for more ranks than documents of a batch, and what `train_classifier` raises.
    """
    result, size = call.out / RESULT_NAME, call.settings.training.batch_size
    if result.is_file():
        return dict(read_json(result))
    if group.world_size > size:
        found = f"{group.world_size} ranks for batches of {size}"
        raise InputError("there are more ranks than documents of a batch", found=found, do="start fewer ranks")
    group.wait_at_most(call.settings.group_timeout_seconds)
    summary = train_classifier(call)
    if group.rank == 0:
        write_json(result, summary)
    group.barrier()
    return summary


@dataclass(frozen=True)
class _Trained:
    """A trained model with its predictions for the validation split, and a row for each round of pseudo-labels."""

    model: TextClassifier
    result: ClassifierResult
    predictions: Floats
    rounds: list[dict[str, Any]]


@dataclass(frozen=True)
class _Member:
    """What every round of a member's training has in common."""

    call: StageCall[TrainClassifierSettings]
    target: TargetConfig
    tokenizer: Tokenizer
    config: ModelConfig
    checkpoints: list[CheckpointFolder]
    group: Group

    @classmethod
    def load(cls, call: StageCall[TrainClassifierSettings], target: TargetConfig, group: Group) -> _Member:
        _, tokenizer, config = load_language_model(call.inputs["model"])
        names = ["checkpoints", *(f"checkpoints-{number + 1}" for number in range(call.settings.pseudo.rounds))]
        checkpoints = [CheckpointFolder(call.out / name, reporter=call.reporter) for name in names]
        return cls(call, target, tokenizer, config, checkpoints, group)

    def train(self, train: LabelledDocuments, valid: LabelledDocuments) -> _Trained:
        """Train the first round and those with pseudo-labels, each anew from the language model."""
        settings, direction = self.call.settings, self.config.direction
        valid_ids = encode_documents(self.tokenizer, direction, valid.texts)
        ids, targets = encode_documents(self.tokenizer, direction, train.texts), self._standard(train)
        known = ClassifierData(ids, targets, valid_ids, self._standard(valid), self.target.kind)
        trained, rounds = self._round(0, known, len(train.labels)), []
        if settings.pseudo.rounds:
            extra_ids = _unlabelled_ids(self.call.inputs[UNLABELLED], self.tokenizer, direction)
            shares = np.bincount(train.targets, minlength=len(train.labels)) / len(train.targets)
        for number in range(1, settings.pseudo.rounds + 1):
            chosen = choose_pseudo_labels(
                predict_encoded(trained.model, extra_ids, self.target, self.group), shares, settings.pseudo
            )
            counts = np.bincount(chosen.classes, minlength=len(train.labels)).tolist()
            rounds.append({"round": number, "pseudo_labels": dict(zip(train.labels, counts, strict=True))})
            more = [extra_ids[i] for i in chosen.documents]
            both = np.concatenate([targets, chosen.classes])
            data = ClassifierData([*ids, *more], both, valid_ids, known.valid_labels, self.target.kind)
            trained = self._round(number, data, len(train.labels))
            rounds[-1] |= {name: trained.result.metrics[name] for name in ("loss", "accuracy")}
        return _Trained(trained.model, trained.result, trained.predictions, rounds)

    def _round(self, number: int, data: ClassifierData, num_labels: int) -> _Trained:
        settings = self.call.settings
        language_model, _, _ = load_language_model(self.call.inputs["model"])
        outputs, sizes = num_outputs(self.target.kind, num_labels), settings.classifier.scaled(settings.drop_mult)
        model = TextClassifier.from_language_model(language_model, outputs, sizes, settings.training.seed)
        groups = len(model.layer_groups())
        training = with_unfreezing(settings.training, settings.unfreezing, groups, settings.epochs, settings.lr)
        data = replace(data, decoder_bias=language_model.decoder_bias)
        reporter = Silent() if self.group.rank else self.call.reporter
        result = train_classifier_loop(model, data, training, self.checkpoints[number], reporter)
        return _Trained(model, result, predict_encoded(model, data.valid, self.target, self.group), [])

    def _standard(self, documents: LabelledDocuments) -> Targets:
        """The targets as training takes them: values of mean 0 and deviation 1."""
        if self.target.kind == "regression":
            return np.asarray((documents.targets - self.target.center) / self.target.scale, np.float32)
        return documents.targets.astype(np.float32) if self.target.kind == "multilabel" else documents.targets


def _target(train: LabelledDocuments, settings: TargetSettings) -> TargetConfig:
    if train.kind != "regression":
        return TargetConfig(kind=train.kind, separator=settings.separator if train.kind == "multilabel" else "")
    center, scale = float(train.targets.mean()), float(train.targets.std())
    if not scale:
        found = f"{center:g} throughout"
        raise InputError("the training values are all the same", found=found, do="give documents of several values")
    return TargetConfig(kind="regression", center=center, scale=scale)


def _thresholds(predictions: Floats, valid: LabelledDocuments) -> list[float]:
    return choose_thresholds(predictions, valid.targets) if valid.kind == "multilabel" else []


def _check_pseudo(call: StageCall[TrainClassifierSettings], train: LabelledDocuments) -> None:
    if not call.settings.pseudo.rounds:
        return
    if UNLABELLED not in call.inputs:
        raise InputError("pseudo-labels need unlabelled documents", do="name a document folder as `unlabelled`")
    if train.kind not in ("multiclass", "ordinal"):
        raise InputError("pseudo-labels need one class a document", found=train.kind, do="set pseudo.rounds = 0")


def _unlabelled_ids(folder: Path, tokenizer: Tokenizer, direction: Direction) -> list[Ids]:
    return list(encode_documents(tokenizer, direction, [document.text for document in read_documents(folder)]))


def _config(member: _Member, train: LabelledDocuments, metrics: dict[str, Any]) -> ModelConfig:
    call, config = member.call, member.config
    folders = {name: call.inputs[name] for name in _DOCUMENTS if name in call.inputs}
    documents = {name: digest_file(folder / MANIFEST_NAME) for name, folder in folders.items()}
    history = {
        "stage": "train_classifier",
        "from": {"encoder_fingerprint": config.encoder_fingerprint, "training": config.training},
        "settings": call.settings.semantic(),
        "documents": documents,
        "metrics": metrics,
        "world_size": member.group.world_size,
    }
    return config.model_copy(update={"kind": "classifier", "labels": list(train.labels), "training": history})
