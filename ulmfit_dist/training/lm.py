"""Training of an AWD-LSTM language model: pretraining and fine-tuning, one rank or many, resumable bit for bit."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt

from ulmfit_dist.config import Settings, operational
from ulmfit_dist.corpus.lanes import Direction, LaneReader, epoch_order
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Reporter
from ulmfit_dist.files import fingerprint
from ulmfit_dist.modelfolder.folder import weights_fingerprint
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.training.averages import WeightAverages
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.curves import Curves, StepResult
from ulmfit_dist.training.device import cpu_threads, give_back_memory, pick_device
from ulmfit_dist.training.evaluate import EvaluationLanes, evaluate_language_model
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.groups import (
    OptimizerSettings,
    build_optimizer,
    discriminative_factors,
    set_rates,
    train_top_groups,
)
from ulmfit_dist.training.guard import refuse_non_finite
from ulmfit_dist.training.losses import Penalties
from ulmfit_dist.training.pace import Pace, Request
from ulmfit_dist.training.plan import Phase, Position, TrainingPlan, WindowPlan
from ulmfit_dist.training.saving import Progress, SavedTraining
from ulmfit_dist.training.schedule import Schedule
from ulmfit_dist.training.steps import Numbers, StepSettings, training_step
from ulmfit_dist.training.trackers import TrackerName
from ulmfit_dist.training.windows import DeviceWindow, read_windows, window_documents


class LMTrainingSettings(Settings):
    """How a language model is trained. Lanes are semantic; where and how often it is saved is operational."""

    epochs: int = Field(default=1, ge=0, description="epochs in which every layer is trained")
    num_lanes: int = Field(default=64, ge=1, description="rows of the global batch, over all ranks")
    bptt: int = Field(default=70, ge=1, description="tokens of a window")
    bptt_jitter: bool = Field(default=True, description="vary the windows as AWD-LSTM does, the rate with them")
    lr: float | None = Field(
        default=None,
        gt=0,
        description="highest rate of the top layer group; without one 4e-3 to 64 lanes, 8e-3 from 128",
    )
    schedule: Schedule = Schedule()
    optimizer: OptimizerSettings = OptimizerSettings()
    layer_ratio: float = Field(default=1.0, ge=1, description="rate of a layer over that of the one below; paper: 2.6")
    layer_factors: list[float] | None = Field(
        default=None, description="shares of the rate for rnn0, rnn1, ..., decoder instead of layer_ratio"
    )
    frozen_epochs: int = Field(
        default=0, ge=0, description="epochs before those, in which the decoder alone is trained"
    )
    frozen_lr: float = Field(default=4e-3, gt=0, description="highest rate of the frozen epochs")
    clip: float = Field(default=0.3, ge=0, description="highest norm of the gradient; 0: no limit")
    ar_alpha: float = Field(default=2.0, ge=0, description="weight of activation regularization")
    tar_beta: float = Field(default=1.0, ge=0, description="weight of temporal activation regularization")
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay a step of averages of the weights, validated and kept instead; 0: none",
    )
    gradient_compression: Literal["none", "bf16"] = Field(
        default="none", description="bf16: half the bytes between ranks, and 8 bits of each gradient"
    )
    shuffle: bool = Field(default=True, description="another order of the documents in each epoch")
    seed: int = Field(default=1, ge=0)
    valid_lanes: int = Field(default=16, ge=1, description="rows in which the validation stream is measured")
    patience: int = Field(default=0, ge=0, description="stop after so many epochs without a better loss; 0: never")
    keep_best: bool = Field(default=False, description="end with the weights of the best epoch, not of the last")
    checkpoint_seconds: float = operational(60.0, "seconds between checkpoints; 0: none by time")
    checkpoint_steps: int = operational(0, "steps between checkpoints; 0: none by count")
    log_points: int = operational(200, "points of the training curve")
    device: str = operational("auto", "auto, cpu or cuda")
    recurrence: Literal["own", "cudnn"] = operational("own", "on Hopper: models/recurrence.py, or cuDNN")
    accumulation: PositiveInt = operational(1, "parts in which a rank computes its lanes one after the other")
    trackers: list[TrackerName] = operational([], "mlflow, wandb: told of the training beside TensorBoard")
    cpu_threads: int = operational(1, "threads of a rank on a CPU; another number rounds otherwise")

    @property
    def highest_lr(self) -> float:
        """The rate that was given, or that of so many lanes by docs/large_batch.md; in between it grows with them."""
        return self.lr or 4e-3 * min(2.0, max(1.0, self.num_lanes / 64))


@dataclass(frozen=True)
class LMData:
    """The streams of one tokenizer, and the direction in which they are read."""

    train: TokenStream
    valid: TokenStream
    direction: Direction


@dataclass(frozen=True)
class LMResult:
    """What a training gives beside the weights: the last (or best) epoch's measures, and the curves."""

    metrics: dict[str, Any]
    curves: dict[str, Any]


def train_lm(  # noqa: PLR0913, PLR0917 - what is trained, on what, how, by whom, saved where, told to whom
    model: LanguageModel,
    data: LMData,
    settings: LMTrainingSettings,
    group: Group,
    checkpoints: CheckpointFolder,
    reporter: Reporter,
) -> LMResult:
    """Train the model in place, from the newest checkpoint if there is one; every rank of the group calls this.

    Equal inputs give equal weights, bit for bit on a CPU, however often the training was stopped on the way. Without
    any epoch the model stays what it is, and is measured.
    Raises InputError for data or a checkpoint that do not fit, DataError when the loss is no number,
    StoppedError after a checkpoint when a stop was requested.
    """
    with cpu_threads(settings.cpu_threads):
        if settings.epochs + settings.frozen_epochs == 0:
            return _untrained(model, data, settings, group)
        result = LMTrainer(model, data, settings, Surroundings(group, checkpoints, reporter)).train()
    give_back_memory(model.decoder_weight.device)
    return result


@dataclass(frozen=True)
class Surroundings:
    """Who trains, where it is saved, who is told."""

    group: Group
    checkpoints: CheckpointFolder
    reporter: Reporter


class StepUnderWay(NamedTuple):
    """A step whose numbers (loss, wish to stop, wish to save, norm of the gradient) have not been read yet."""

    position: Position
    num_valid: int
    lr: float
    numbers: Numbers


class LMTrainer:
    """One training from start or checkpoint to end."""

    def __init__(
        self, model: LanguageModel, data: LMData, settings: LMTrainingSettings, surroundings: Surroundings
    ) -> None:
        _check(model, data, settings, surroundings.group)
        identity = _identity(model, data, settings)
        self.device = pick_device(settings.device)
        self.model, self.data, self.settings = model.to(self.device), data, settings
        self.group, self.reporter = surroundings.group, surroundings.reporter
        self.lanes = self.group.lanes(settings.num_lanes)
        self.layer_groups = model.layer_groups()
        self.plan = _plan(data, settings, len(self.layer_groups))
        factors = settings.layer_factors or discriminative_factors(len(self.layer_groups), settings.layer_ratio)
        self.optimizer = build_optimizer(self.layer_groups, factors, settings.optimizer)
        self.curves = Curves.spaced(self.plan.total_steps, settings.log_points)
        self.pace = Pace(self.group, settings.checkpoint_seconds, settings.checkpoint_steps)
        step_settings = StepSettings(
            seed=settings.seed,
            num_lanes=settings.num_lanes,
            longest_window=self.plan.longest_window,
            penalties=Penalties(settings.ar_alpha, settings.tar_beta),
            clip=settings.clip,
            own_recurrence=settings.recurrence == "own",
            accumulation=settings.accumulation,
            compressed=settings.gradient_compression == "bf16",
        )
        self.step = training_step(model, step_settings, self.group)
        self.averages = WeightAverages(model, settings.ema) if settings.ema else None
        self.progress = Progress(model, self.optimizer, self.curves, self.step.state, averages=self.averages)
        self.saved = SavedTraining(surroundings.checkpoints, self.group, identity)
        self.under_way: deque[StepUnderWay] = deque()
        self.trained_groups = 0

    def train(self) -> LMResult:
        """Run every step that is left."""
        first = self.saved.restore(self.progress, self.lanes)
        if first:
            self.reporter.event("resumed", step=first, total_steps=self.plan.total_steps)
        for epoch in range(self.plan.epoch_of(first), self.plan.num_epochs):
            if self._out_of_patience():
                break
            for position, window in self.windows(epoch, first):
                self.train_step(position, window)
                self._after_step(position)
        self.saved.finish()
        return self._result()

    def train_step(self, position: Position, window: DeviceWindow) -> None:
        """One step: rates, gradients, what the ranks agree on, update; the numbers are read `lag` steps later."""
        lr = self._set_rates(position)
        gradients = self.step.gradients(position.step, window)
        shared = self.pace.share(gradients.loss_sum, position.step)
        numbers = torch.cat([shared, gradients.norm.double().reshape(1)])
        self.under_way.append(StepUnderWay(position, window.num_valid, lr, Numbers(numbers)))
        if self.step.lag == 0:
            self._settle(0)
        self.step.update(self.optimizer, torch.isfinite(numbers[[0, -1]]).all())
        if self.averages is not None:
            self.averages.update(position.step)
        self._settle(self.step.lag)

    def windows(self, epoch: int, first_step: int = 0) -> Iterator[tuple[Position, DeviceWindow]]:
        """Yield the windows of an epoch that are not before a step of the training."""
        stream, settings = self.data.train, self.settings
        order = epoch_order(stream.num_documents, settings.seed, epoch, settings.shuffle)
        reader = LaneReader(stream, order, settings.num_lanes, self.data.direction)
        return read_windows(reader, self.plan.epoch_positions(epoch, first_step), self.lanes, self.device)

    def _set_rates(self, position: Position) -> float:
        phase, step, total = self.plan.phase(position.step)
        if phase.trained_groups != self.trained_groups:
            self.step.train_only(train_top_groups(self.layer_groups, phase.trained_groups))
            self.trained_groups = phase.trained_groups
        point = self.settings.schedule.at(step, total)
        self.set_rate(phase.lr * point.lr_factor, position, point.beta1)
        return phase.lr * point.lr_factor

    def set_rate(self, lr: float, position: Position, beta1: float | None = None) -> None:
        """Set the rate that a window of the usual length would have; this one's may be shorter or longer."""
        # AWD-LSTM: a short window has fewer terms in its gradient, and learns at a rate in proportion.
        jitter = position.length / self.settings.bptt if self.settings.bptt_jitter else 1.0
        set_rates(self.optimizer, lr * jitter, beta1)

    def _settle(self, left: int) -> None:
        """Read the numbers of all but the `left` newest steps under way: refuse what is no number, record the rest."""
        while len(self.under_way) > left:
            position, num_valid, lr, numbers = self.under_way.popleft()
            *shared, norm = numbers.read()
            loss_sum = self.pace.note(shared)
            if not math.isfinite(loss_sum) or not math.isfinite(norm):
                self._refuse(position, loss_sum, norm)
            result = StepResult(position.step, position.epoch, loss_sum, num_valid, lr, norm)
            self._watch(position, result)
            self._record(result)

    def _watch(self, position: Position, result: StepResult) -> None:
        """Tell of a loss that stands out; the training goes on."""
        place = {"step": result.step + 1, "epoch": result.epoch, "gradient_norm": result.gradient_norm}
        spike = self.curves.spikes.add(result.loss_sum / result.count, **place)
        if spike is not None and self.group.rank == 0:
            self.reporter.event("loss_spike", **spike, documents=self._documents(position))

    def _record(self, result: StepResult) -> None:
        point = self.curves.add(result)
        if self.group.rank:
            return
        if point is not None:
            self.reporter.event("point", **point)
        total = self.plan.num_epochs * (self.data.train.num_tokens - 1)
        loss = result.loss_sum / result.count
        speed = round(self.curves.speed(), 1)
        self.reporter.progress(self.curves.done, total, loss=loss, tokens_per_s=speed, lr=result.lr, epoch=result.epoch)

    def _after_step(self, position: Position) -> None:
        if position.last_of_epoch or self.pace.wanted:
            self._settle(0)
        if position.last_of_epoch:
            self.step.reset_state()
            self._validate(position)
        last = position.step + 1 == self.plan.total_steps or (position.last_of_epoch and self._out_of_patience())
        request = self.pace.request(last=last)
        if request is not Request.NOTHING:
            self.saved.save(position.step + 1, self.progress, self.settings.num_lanes)
        if request is Request.STOP:
            self.saved.stopped(position.step + 1)

    def _validate(self, position: Position) -> None:
        lanes = EvaluationLanes(self.data.direction, self.settings.valid_lanes, self.settings.bptt)
        with contextlib.nullcontext() if self.averages is None else self.averages.in_model():
            score = evaluate_language_model(self.model, self.data.valid, lanes, self.group)
            row = {"step": position.step + 1, "epoch": position.epoch, **score.as_metrics()}
            self.curves.epochs.append(row)
            if self.settings.keep_best and _best(self.curves.epochs) is row:
                self.progress.keep_best()
        self.curves.restart_clock()
        if self.group.rank == 0:
            self.reporter.event("validation", **row)

    def _out_of_patience(self) -> bool:
        rows, patience = self.curves.epochs, self.settings.patience
        return bool(patience and rows and len(rows) - 1 - rows.index(_best(rows)) >= patience)

    def _refuse(self, position: Position, loss_sum: float, norm: float) -> None:
        name = f"non-finite-rank{self.group.rank}.json"
        numbers = {"loss_sum": loss_sum, "gradient_norm": norm}
        place = {"step": position.step, "epoch": position.epoch, "start": position.start, "length": position.length}
        refuse_non_finite(self.saved.folder / name, numbers, place, self._documents(position))

    def _documents(self, position: Position) -> list[str]:
        stream, settings = self.data.train, self.settings
        order = epoch_order(stream.num_documents, settings.seed, position.epoch, settings.shuffle)
        return window_documents(stream, order, settings.num_lanes, position)

    def _result(self) -> LMResult:
        rows = self.curves.epochs
        if self.settings.keep_best:
            self.progress.use_best()
        elif self.averages is not None:
            self.averages.use()
        train_top_groups(self.layer_groups, len(self.layer_groups))
        self.optimizer.zero_grad(set_to_none=True)
        row = _best(rows) if self.settings.keep_best else rows[-1]
        metrics = {**row, "steps": rows[-1]["step"], "tokens": self.curves.done}
        return LMResult(metrics, {**self.curves.as_json(), "spikes": self.curves.spikes.rows})


def _untrained(model: LanguageModel, data: LMData, settings: LMTrainingSettings, group: Group) -> LMResult:
    _check(model, data, settings, group)
    lanes = EvaluationLanes(data.direction, settings.valid_lanes, settings.bptt)
    score = evaluate_language_model(model.to(pick_device(settings.device)), data.valid, lanes, group)
    row = {"step": 0, "epoch": 0, **score.as_metrics()}
    return LMResult({**row, "steps": 0, "tokens": 0}, {"points": [], "epochs": [row], "spikes": []})


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return min(rows, key=lambda row: float(row["loss"]))


def _plan(data: LMData, settings: LMTrainingSettings, num_groups: int) -> TrainingPlan:
    lane_length = -(-(data.train.num_tokens - 1) // settings.num_lanes)
    windows = WindowPlan(lane_length, settings.bptt, settings.bptt_jitter, settings.seed)
    head = Phase(settings.frozen_epochs, settings.frozen_lr, 1)
    return TrainingPlan(windows, [head, Phase(settings.epochs, settings.highest_lr, num_groups)])


def _identity(model: LanguageModel, data: LMData, settings: LMTrainingSettings) -> str:
    streams = {
        name: [stream.tokenizer_fingerprint, [shard.xxh3_128 for shard in stream.manifest.shards]]
        for name, stream in (("train", data.train), ("valid", data.valid))
    }
    initial = weights_fingerprint(model)
    return fingerprint(
        {"settings": settings.semantic(), "streams": streams, "direction": data.direction, "initial": initial}
    )


def _check(model: LanguageModel, data: LMData, settings: LMTrainingSettings, group: Group) -> None:
    for name, stream in (("training", data.train), ("validation", data.valid)):
        if stream.vocab_size != model.encoder.vocab_size:
            raise InputError(
                "this vocabulary does not belong to this encoder",
                found=f"{name} stream of {stream.vocab_size} ids, encoder of {model.encoder.vocab_size}",
                do="tokenize with the tokenizer that the encoder was made for",
            )
        if stream.num_tokens < 2:
            raise InputError(f"the {name} stream is empty", found=f"{stream.num_tokens} tokens", do="give more text")
    if data.train.tokenizer_fingerprint != data.valid.tokenizer_fingerprint:
        raise InputError("training and validation were tokenized differently", do="tokenize both with one tokenizer")
    if data.train.num_tokens <= settings.num_lanes:
        found = f"{data.train.num_tokens} tokens for {settings.num_lanes} lanes"
        raise InputError("the training stream is shorter than one step", found=found, do="lower num_lanes")
    if settings.num_lanes < group.world_size:
        found = f"{settings.num_lanes} lanes for {group.world_size} ranks"
        raise InputError("there are more ranks than lanes", found=found, do="raise num_lanes or use fewer workers")
    factors, groups = settings.layer_factors, model.layer_groups()
    if factors is not None and len(factors) != len(groups):
        names = ", ".join(name for name, _ in groups)
        raise InputError("layer_factors needs one number a layer group", found=f"{factors}", do=f"give {names}")
