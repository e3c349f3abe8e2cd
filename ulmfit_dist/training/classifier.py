"""Training of a text classifier: gradual unfreezing, discriminative rates, one schedule a stage (paper section 3.3).

Several ranks share every batch. Each encodes its own documents; then the pooled outputs are gathered and every rank
runs the head on the whole batch, so that batch norm and loss are those of one rank (`joined_step`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
import xxhash
from pydantic import Field, model_validator
from torch import Tensor, nn

from ulmfit_dist.config import Settings, operational
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Reporter
from ulmfit_dist.files import fingerprint
from ulmfit_dist.modelfolder.folder import weights_fingerprint
from ulmfit_dist.models.classifier import TextClassifier
from ulmfit_dist.models.document_lanes import fill_lanes, score_documents
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.packed_lstm import Precision, supported
from ulmfit_dist.models.targets import TargetKind, num_labels
from ulmfit_dist.training.batches import balanced_draw, length_batches, pad_documents, stratified_batches
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.curves import Curves, StepResult
from ulmfit_dist.training.device import autocast, cpu_threads, pick_device
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.groups import (
    PAPER_RATIO,
    OptimizerSettings,
    build_optimizer,
    discriminative_factors,
    set_rates,
    train_groups,
    train_top_groups,
)
from ulmfit_dist.training.guard import refuse_non_finite
from ulmfit_dist.training.joined_step import BatchLoss, JoinedStep, StepInput
from ulmfit_dist.training.objective import ClassWeights, Objective, Targets, class_weights
from ulmfit_dist.training.pace import Pace, Request
from ulmfit_dist.training.penalties import Additions
from ulmfit_dist.training.saving import Progress, SavedTraining
from ulmfit_dist.training.schedule import Schedule
from ulmfit_dist.training.windows import prefetched

Ids = np.ndarray
_VALID_DOCUMENTS, _VALID_TOKENS = 256, 16_384


class ClassifierStage(Settings):
    """Consecutive epochs in which the top `groups` layer groups are trained (0: all), or `only` one of them."""

    groups: int = Field(default=0, ge=0)
    only: int = Field(default=0, ge=0, description="train this group alone, counted from the head, which is 1")
    epochs: int = Field(default=1, ge=1)
    lr: float = Field(default=0.01, gt=0, description="highest rate of the head")

    @model_validator(mode="after")
    def _groups_or_only(self) -> Self:
        if self.groups and self.only:
            msg = "a stage trains the top groups or only one: give groups or only"
            raise ValueError(msg)
        return self

    def trained(self, num_groups: int) -> range:
        """Return the groups that this stage trains, numbered from the lowest."""
        if self.only:
            place = num_groups - min(self.only, num_groups)
            return range(place, place + 1)
        return range(num_groups - min(self.groups or num_groups, num_groups), num_groups)


def _gradual() -> list[ClassifierStage]:
    return [*(ClassifierStage(groups=groups) for groups in (1, 2, 3)), ClassifierStage(groups=0, epochs=2)]


class ClassifierTrainingSettings(Settings):
    """How a classifier is trained; the defaults are the paper's but for the number of epochs."""

    stages: list[ClassifierStage] = Field(default_factory=_gradual, min_length=1)
    schedule: Schedule = Schedule()
    optimizer: OptimizerSettings = OptimizerSettings()
    layer_ratio: float = Field(default=PAPER_RATIO, ge=1, description="rate of a layer over that of the one below")
    batch_size: int = Field(default=64, ge=2)
    clip: float = Field(default=0.25, ge=0, description="highest norm of the gradient; 0: no limit")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of certainty spread over the classes")
    class_weights: ClassWeights = Field(
        default="none", description="weigh the loss by the rarity of a class: in full (balanced) or by its root"
    )
    sampling: Literal["all", "balanced"] = Field(
        default="all", description="an epoch has every document once, or every class equally often"
    )
    ar_alpha: float = Field(default=0.0, ge=0, description="weight of activation regularization")
    tar_beta: float = Field(default=0.0, ge=0, description="weight of temporal activation regularization")
    lm_weight: float = Field(default=0.0, ge=0, description="weight of the language model's loss on the documents")
    seed: int = Field(default=1, ge=0)
    keep_best: bool = Field(default=False, description="end with the epoch of the best validation loss")
    checkpoint_seconds: float = operational(60.0, "seconds between checkpoints; 0: none by time")
    checkpoint_steps: int = operational(0, "steps between checkpoints; 0: none by count")
    log_points: int = operational(100, "points of the training curve")
    device: str = operational("auto", "auto, cpu or cuda")
    cpu_threads: int = operational(1, "threads of a rank on a CPU; another number rounds otherwise")


@dataclass(frozen=True)
class ClassifierData:
    """Encoded documents (1-D ids, in the model's direction, each at least one token) and their targets.

    Targets: class numbers from 0, or as `kind` asks (objective.py). `decoder_bias` (V,): the language model's, for its
    own loss; it may have none.
    """

    train: Sequence[Ids]
    train_labels: Sequence[int] | Targets
    valid: Sequence[Ids]
    valid_labels: Sequence[int] | Targets
    kind: TargetKind = "multiclass"
    decoder_bias: Tensor | None = None


@dataclass(frozen=True)
class ClassifierResult:
    """What a training gives beside the weights."""

    curves: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Batch:
    """One step: which documents, in which stage, and where the step stands in the stage's schedule."""

    step: int
    epoch: int
    documents: list[int]
    stage: ClassifierStage
    stage_step: int
    stage_steps: int
    last_of_epoch: bool


def train_classifier_loop(
    model: TextClassifier,
    data: ClassifierData,
    settings: ClassifierTrainingSettings,
    checkpoints: CheckpointFolder,
    reporter: Reporter,
) -> ClassifierResult:
    """Train the model in place, from the newest checkpoint if there is one, together with the ranks of the group.

    Equal inputs give equal weights, bit for bit on a CPU, however often the training was stopped on the way. On another
    number of ranks batches and masks are the same, and so is a step from the same weights but for rounding (losses to
    1e-5 on a CPU). Steps let that grow, as they do when the initial weights differ in their last bit: over 18 steps of
    a tiny model to 5e-6 in the losses and 1e-5 in the weights, over hundreds to different trainings of one quality.
    Raises InputError for data or a checkpoint that do not fit, DataError when the loss is no number,
    StoppedError after a checkpoint when a stop was requested.
    """
    with cpu_threads(settings.cpu_threads):
        return ClassifierTrainer(model, data, settings, checkpoints, reporter).train()


@torch.no_grad()
def predict_logits(
    model: TextClassifier, documents: Sequence[Ids], group: Group | None = None, precision: Precision = "float32"
) -> Tensor:
    """Return the logits (N, O) float32 on the CPU, in the order of the documents; the model is put in eval mode.

    The ranks of a group share the documents; each gets all logits. int8 is for LSTM layers on a CPU that multiplies it:
    else InputError. A GPU computes in bf16.
    """
    device, group = next(model.parameters()).device, group or Group.single()
    model.eval()
    out = torch.zeros(len(documents), model.num_classes, device=device)
    mine = list(range(group.rank, len(documents), group.world_size))
    if mine:
        out[mine] = _own_logits(model, [documents[i] for i in mine], precision)
    return group.total(out).cpu()


def _own_logits(model: TextClassifier, documents: Sequence[Ids], precision: Precision) -> Tensor:
    device = next(model.parameters()).device
    if supported(model.encoder) and (precision == "int8" or fill_lanes(documents)):
        return score_documents(model, documents, precision)
    if precision != "float32":
        found, do = f"{type(model.encoder).__name__} on {device}", 'predict with precision "float32"'
        raise InputError(f"{precision} is for LSTM layers on a CPU", found=found, do=do)
    out = torch.zeros(len(documents), model.num_classes, device=device)
    for batch in length_batches([len(document) for document in documents], _VALID_DOCUMENTS, _VALID_TOKENS):
        tokens, valid = pad_documents([documents[i] for i in batch], model.encoder.pad_id)
        with autocast(device):
            logits = model(tokens.to(device), valid.to(device))
        out[batch] = logits.float()
    return out


class ClassifierTrainer:
    """One training from start or checkpoint to end."""

    def __init__(
        self,
        model: TextClassifier,
        data: ClassifierData,
        settings: ClassifierTrainingSettings,
        checkpoints: CheckpointFolder,
        reporter: Reporter,
    ) -> None:
        _check(model, data, settings)
        identity = _identity(model, data, settings)
        self.device = pick_device(settings.device)
        self.model, self.data, self.settings, self.reporter = model.to(self.device), data, settings, reporter
        self.group = Group.current()
        self.targets, self.valid_targets = _tensor(data.train_labels), _tensor(data.valid_labels)
        weights = class_weights(
            data.kind, self.targets.numpy(), num_labels(data.kind, model.num_classes), settings.class_weights
        )
        self.objective = Objective(data.kind, settings.label_smoothing, weights)
        loss = BatchLoss(model, self.objective, _additions(settings), data.decoder_bias, self.group)
        self.step = JoinedStep(loss)
        self.layer_groups = model.layer_groups()
        self.batches = _plan(data, settings)
        factors = discriminative_factors(len(self.layer_groups), settings.layer_ratio)
        self.optimizer = build_optimizer(self.layer_groups, factors, settings.optimizer)
        self.curves = Curves.spaced(len(self.batches), settings.log_points)
        self.pace = Pace(self.group, settings.checkpoint_seconds, settings.checkpoint_steps)
        self.progress = Progress(model, self.optimizer, self.curves)
        self.saved = SavedTraining(checkpoints, self.group, identity)
        self.trained_groups = range(0)
        self.trainable: list[nn.Parameter] = []

    def train(self) -> ClassifierResult:
        """Run every step that is left."""
        first = self.saved.restore(self.progress)
        if first:
            self.reporter.event("resumed", step=first, total_steps=len(self.batches))
        self.model.train()
        for batch, (tokens, valid) in prefetched(self._read, self.batches[first:]):
            self.train_step(batch, tokens, valid)
            self._after_step(batch)
        self.saved.finish()
        self.model.eval()
        return self._result()

    def train_step(self, batch: _Batch, tokens: Tensor, valid: Tensor) -> None:
        """One step: rates, masks, loss, gradient, clip, update."""
        lr = self._set_rates(batch)
        count = len(batch.documents)
        lanes = self.group.lanes(count)
        masks = DropoutMasks(self.settings.seed, batch.step, lanes or range(1), count, self.device)
        targets = self.targets[batch.documents].to(self.device)
        with autocast(self.device):
            total, loss = self.step(StepInput(tokens.to(self.device), valid.to(self.device), targets, masks))
        total.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.trainable, self.settings.clip or math.inf))
        # Every rank has the whole batch's loss: the sum over ranks is to be that of its documents.
        loss_sum = self.pace.agree(loss * (count / self.group.world_size), batch.step)
        if not math.isfinite(loss_sum) or not math.isfinite(norm):
            self._refuse(batch, loss_sum, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._record(StepResult(batch.step, batch.epoch, loss_sum, count, lr, norm))

    def _read(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        # A rank without documents in a small batch runs along on the first one, which counts for nothing there.
        own = [batch.documents[lane] for lane in self.group.lanes(len(batch.documents))] or batch.documents[:1]
        return pad_documents([self.data.train[i] for i in own], self.model.encoder.pad_id)

    def _set_rates(self, batch: _Batch) -> float:
        trained = batch.stage.trained(len(self.layer_groups))
        if trained != self.trained_groups:
            self.trainable = train_groups(self.layer_groups, trained)
            self.trained_groups = trained
            self.step.join()
        point = self.settings.schedule.at(batch.stage_step, batch.stage_steps)
        set_rates(self.optimizer, batch.stage.lr * point.lr_factor, point.beta1)
        return batch.stage.lr * point.lr_factor

    def _record(self, result: StepResult) -> None:
        point = self.curves.add(result)
        if point is not None:
            documents = point.pop("tokens")
            point |= {"documents": documents, "documents_per_s": point.pop("tokens_per_s")}
            self.reporter.event("point", **point)
        total = len(self.data.train) * sum(stage.epochs for stage in self.settings.stages)
        loss, speed = result.loss_sum / result.count, round(self.curves.speed(), 1)
        self.reporter.progress(
            self.curves.done, total, loss=loss, documents_per_s=speed, lr=result.lr, epoch=result.epoch
        )

    def _after_step(self, batch: _Batch) -> None:
        if batch.last_of_epoch:
            self._validate(batch)
        request = self.pace.request(last=batch.step + 1 == len(self.batches))
        if request is not Request.NOTHING:
            self.saved.save(batch.step + 1, self.progress)
        if request is Request.STOP:
            self.saved.stopped(batch.step + 1)

    def _validate(self, batch: _Batch) -> None:
        logits = predict_logits(self.model, self.data.valid, self.group)
        self.model.train()
        measures = self.objective.measures(logits.double(), self.valid_targets)
        row = {"step": batch.step + 1, "epoch": batch.epoch, **measures}
        self.curves.epochs.append(row)
        self.curves.restart_clock()
        if self.settings.keep_best and _best(self.curves.epochs) is row:
            self.progress.keep_best()
        self.reporter.event("validation", **row)

    def _refuse(self, batch: _Batch, loss_sum: float, norm: float) -> None:
        path = self.saved.folder / f"non-finite-rank{self.group.rank}.json"
        place = {"step": batch.step, "epoch": batch.epoch}
        documents = [str(index) for index in batch.documents]
        refuse_non_finite(path, {"loss_sum": loss_sum, "gradient_norm": norm}, place, documents)

    def _result(self) -> ClassifierResult:
        rows = self.curves.epochs
        if self.settings.keep_best:
            self.progress.use_best()
        train_top_groups(self.layer_groups, len(self.layer_groups))
        row = _best(rows) if self.settings.keep_best else rows[-1]
        return ClassifierResult(self.curves.as_json(), {**row, "steps": len(self.batches)})


def _plan(data: ClassifierData, settings: ClassifierTrainingSettings) -> list[_Batch]:
    lengths, seed = [len(document) for document in data.train], settings.seed
    out: list[_Batch] = []
    epoch = 0
    for stage in settings.stages:
        epochs = range(epoch, epoch + stage.epochs)
        balanced = {e: balanced_draw(data.train_labels, seed, e) for e in epochs if settings.sampling == "balanced"}  # type: ignore[arg-type]
        drawn = [(e, stratified_batches(lengths, settings.batch_size, seed, e, balanced.get(e))) for e in epochs]
        total, done = sum(len(batches) for _, batches in drawn), 0
        for number, batches in drawn:
            for index, documents in enumerate(batches):
                last = index == len(batches) - 1
                out.append(_Batch(len(out), number, documents, stage, done, total, last))
                done += 1
        epoch += stage.epochs
    return out


def _additions(settings: ClassifierTrainingSettings) -> Additions:
    return Additions(settings.ar_alpha, settings.tar_beta, settings.lm_weight)


def _tensor(targets: Sequence[int] | Targets) -> Tensor:
    return torch.from_numpy(np.asarray(targets).copy())


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return min(rows, key=lambda row: float(row["loss"]))


def _check(model: TextClassifier, data: ClassifierData, settings: ClassifierTrainingSettings) -> None:
    for name, documents, labels in (
        ("training", data.train, data.train_labels),
        ("validation", data.valid, data.valid_labels),
    ):
        if len(documents) != len(labels):
            found = f"{len(documents)} documents, {len(labels)} labels"
            raise InputError(f"{name} documents and labels do not match", found=found, do="give one label a document")
        if not documents:
            raise InputError(f"there are no {name} documents", do="give some")
        _check_classes(name, model, data.kind, np.asarray(labels))
    if len(data.train) < 2:
        raise InputError("one training document is too few", do="give at least two: batch norm needs them")
    if settings.sampling == "balanced" and data.kind not in ("multiclass", "ordinal"):
        do = 'set sampling = "all"; rare labels of several may be weighed instead (class_weights)'
        raise InputError("balanced sampling needs one class a document", found=data.kind, do=do)


def _check_classes(name: str, model: TextClassifier, kind: TargetKind, labels: Targets) -> None:
    if kind in ("multiclass", "ordinal"):
        classes = num_labels(kind, model.num_classes)
        if labels.max() >= classes or labels.min() < 0:
            found = f"labels {labels.min()} to {labels.max()} for {classes} classes"
            raise InputError(f"a {name} label is no class of the model", found=found, do="number the classes from 0")
    elif kind == "multilabel" and labels.shape[1:] != (model.num_classes,):
        found = f"{labels.shape[1:]} for {model.num_classes} outputs"
        raise InputError(f"{name} labels do not fit the model", found=found, do="give a column a label")


def _identity(model: TextClassifier, data: ClassifierData, settings: ClassifierTrainingSettings) -> str:
    state = xxhash.xxh3_128()
    for documents in (data.train, data.valid):
        for document in documents:
            state.update(np.ascontiguousarray(document, np.int64).tobytes())
            state.update(b"\xff")
    if settings.lm_weight and data.decoder_bias is not None:
        state.update(data.decoder_bias.detach().cpu().numpy().tobytes())
    return fingerprint(
        {
            "settings": settings.semantic(),
            "documents": state.hexdigest(),
            "kind": data.kind,
            "labels": [np.asarray(labels).tolist() for labels in (data.train_labels, data.valid_labels)],
            "initial": weights_fingerprint(model),
            "head": model.settings.semantic(),
        }
    )
