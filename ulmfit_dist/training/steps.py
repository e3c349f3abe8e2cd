"""The step of a language model's training: gradients of a window, then the update; two ways of one meaning.

`PlainStep` is the definition, in autograd, on any device. `FastStep` computes the same on a Hopper GPU, where launching
kernels one by one would cost as much as running them: it records each window length's kernels once, in a CUDA graph.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ulmfit_dist.errors import InputError
from ulmfit_dist.models.awd_lstm import AWDLSTM
from ulmfit_dist.models.dropout import DropoutMasks, site_key
from ulmfit_dist.models.encoder import State, detach_state
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.training.device import autocast, upload
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.losses import Denominators, LMLoss, Penalties, lm_loss
from ulmfit_dist.training.windows import DeviceWindow

if TYPE_CHECKING:
    from ulmfit_dist.models.fast_lm import WindowTensors

_HOPPER = 9


@dataclass(frozen=True)
class StepSettings:
    """What every step of a training has in common; a clip of 0 is no limit, the longest window is in tokens.

    `own_recurrence`: see `FastLanguageModel`. `accumulation`: a rank computes its lanes in so many parts, one after the
    other, and sums their gradients: less memory at a time, the same step. `compressed`: see `Group.total_gradient`.
    """

    seed: int
    num_lanes: int
    longest_window: int
    penalties: Penalties
    clip: float
    own_recurrence: bool = False
    accumulation: int = 1
    compressed: bool = False


class Gradients(NamedTuple):
    """Sum of this rank's losses in nats, and the norm of the whole group's gradient, both on the device."""

    loss_sum: Tensor
    norm: Tensor


class TrainingStep(Protocol):
    """A way to compute a step. `state` is the lanes' hidden state, moved on by `gradients`; always the same list.

    `lag`: so many steps may be under way before the numbers of the first are read; 0 where reading costs nothing.
    """

    state: State
    lag: int

    def train_only(self, trainable: list[nn.Parameter]) -> None:
        """Say which parameters get gradients, before the first step and whenever it changes."""

    def gradients(self, step: int, window: DeviceWindow) -> Gradients:
        """Compute the gradients of a window over all ranks and the state after it."""

    def update(self, optimizer: torch.optim.Optimizer, finite: Tensor) -> None:
        """Clip and apply the gradients; where the lag is not 0, only while `finite` bool () has always been true."""

    def reset_state(self) -> None:
        """Start every lane at zero again."""


def training_step(model: LanguageModel, settings: StepSettings, group: Group) -> TrainingStep:
    """Return the fast way where it runs: an AWD-LSTM on a Hopper GPU, with Triton. Elsewhere the plain one.

    Raises InputError for accumulation on the fast way.
    """
    device = model.decoder_weight.device
    fast = isinstance(model.encoder, AWDLSTM) and _triton_found()
    if fast and device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == _HOPPER:
        if settings.accumulation > 1:
            raise InputError(
                "this GPU computes a step in one piece",
                found=f"accumulation = {settings.accumulation}",
                do="leave accumulation at 1: 512 lanes need 3 GiB here",
            )
        return FastStep(model, settings, group)
    return PlainStep(model, settings, group)


class Objective(nn.Module):
    """The whole step up to the loss as one module, so that DDP sees every use of every parameter."""

    def __init__(self, model: LanguageModel, penalties: Penalties) -> None:
        super().__init__()
        self.model, self.penalties = model, penalties

    def forward(
        self, window: DeviceWindow, state: State, masks: DropoutMasks, counts: Denominators
    ) -> tuple[LMLoss, State]:
        """Return the loss of this rank's lanes and the new state."""
        out = self.model.encoder(window.inputs, state, masks)
        return lm_loss(self.model, out, window.targets, self.penalties, counts), out.state


class PlainStep:
    """Autograd and DDP: what a step means. `wrapped` is the objective as the group sees it."""

    lag = 0

    def __init__(self, model: LanguageModel, settings: StepSettings, group: Group) -> None:
        self._model, self._settings, self._group = model, settings, group
        self._device, self._lanes = model.decoder_weight.device, group.lanes(settings.num_lanes)
        self._objective = Objective(model, settings.penalties)
        self.wrapped: nn.Module = self._objective
        self._trainable: list[nn.Parameter] = []
        self.state: State = []
        self.reset_state()

    def train_only(self, trainable: list[nn.Parameter]) -> None:
        """Make DDP again: it hooks what asks for a gradient when it is made."""
        self._trainable = trainable
        self.wrapped = self._group.wrap(self._objective, compressed=self._settings.compressed)

    def gradients(self, step: int, window: DeviceWindow) -> Gradients:
        """Run forward and backward, clip, and move the state on without its graph."""
        count = min(self._settings.accumulation, len(self._lanes))
        ends = [part * len(self._lanes) // count for part in range(count + 1)]
        losses, states = [], []
        for first, end in pairwise(ends):
            with self._summed_over_ranks(last=end == ends[-1]):
                loss, state = self._part(step, window, slice(first, end))
            losses.append(loss)
            states.append(state)
        norm = nn.utils.clip_grad_norm_(self._trainable, self._settings.clip or math.inf)
        self.state[:] = _join_states(states)
        return Gradients(torch.stack(losses).sum(), norm)

    def _part(self, step: int, window: DeviceWindow, lanes: slice) -> tuple[Tensor, State]:
        """Add the gradients of some of this rank's lanes; return the sum of their losses and their state."""
        settings, numbers = self._settings, self._lanes[lanes]
        masks = DropoutMasks(settings.seed, step, numbers, settings.num_lanes, self._device)
        counts = Denominators.of_window(window.num_valid, settings.num_lanes, self._group.world_size)
        targets = window.targets.of_lanes(lanes, window.inputs.shape)
        part = DeviceWindow(window.inputs[:, lanes], targets, window.num_valid)
        state = [(hidden[:, lanes], cell[:, lanes]) for hidden, cell in self.state]
        with autocast(self._device):
            loss, after = self.wrapped(part, state, masks, counts)
        loss.total.backward()
        return loss.cross_entropy_sum, detach_state(after)

    def _summed_over_ranks(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """DDP sums what has gathered over the ranks in the last part's backward."""
        if last or not isinstance(self.wrapped, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.wrapped.no_sync()

    def update(self, optimizer: torch.optim.Optimizer, finite: Tensor) -> None:  # noqa: ARG002 - refused before, lag 0
        """Apply the clipped gradients."""
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def reset_state(self) -> None:
        """Start every lane at zero again."""
        self.state[:] = self._model.encoder.initial_state(len(self._lanes), self._device)


class FastStep:
    """`models.fast_lm` in CUDA graphs, one a window length, with masks, numbers and rates that change under them.

    The first window of a length runs as it is, which compiles what is missing; the second is recorded. So a length
    that comes once, as an epoch's last one may, costs no recording. Gradients are summed over the ranks in one piece.
    """

    lag = 2

    def __init__(self, model: LanguageModel, settings: StepSettings, group: Group) -> None:
        from ulmfit_dist.models.fast_lm import FastLanguageModel

        self._settings, self._group, self._size = settings, group, model.encoder.settings.embedding_size
        lanes = group.lanes(settings.num_lanes)
        self._fast = FastLanguageModel(model, lanes, own_recurrence=settings.own_recurrence)
        self.state = self._fast.state
        self._device = model.decoder_weight.device
        self._finite = torch.ones((), dtype=torch.bool, device=self._device)
        self._memory: _GraphMemory | None = None
        self._recorded: dict[int, _Recorded] = {}
        self._gradient = self._norm = torch.zeros(0, device=self._device)

    def train_only(self, trainable: list[nn.Parameter]) -> None:
        """Give the trainable parameters their gradients; recordings of other ones are of no use any more."""
        self._gradient = self._fast.gradient_of(trainable)
        self._recorded.clear()

    def gradients(self, step: int, window: DeviceWindow) -> Gradients:
        """Replay the length's graph on this window, or run and record what it will replay."""
        tensors = self._tensors(step, window)
        length = len(window.inputs)
        recorded = self._recorded.get(length)
        if recorded is not None:
            assert self._memory is not None
            loss_sum = recorded.replay(self._fast.run, tensors, self._memory)
        else:
            self._recorded[length] = _Recorded(tensors)
            loss_sum = self._run_unrecorded(tensors)
        self._group.total_gradient(self._gradient, compressed=self._settings.compressed)
        self._norm = torch.linalg.vector_norm(self._gradient)
        return Gradients(loss_sum, self._norm)

    def update(self, optimizer: torch.optim.Optimizer, finite: Tensor) -> None:
        """Clip and apply inside the optimizer's own kernel, which changes nothing after a number that is none."""
        self._finite &= finite
        clip = self._settings.clip
        # As clip_grad_norm_: the gradient times clip / (norm + 1e-6), if that is below 1.
        scale = ((self._norm + 1e-6) / clip).clamp_(min=1.0) if clip else torch.ones_like(self._norm)
        # torch's fused Adam divides by one and skips everything, its count of steps too, while the other is not 0.
        optimizer.grad_scale = scale  # type: ignore[attr-defined]
        optimizer.found_inf = (~self._finite).float()  # type: ignore[attr-defined]
        optimizer.step()

    def reset_state(self) -> None:
        """Start every lane at zero again."""
        for part in (part for pair in self.state for part in pair):
            part.zero_()

    def _run_unrecorded(self, tensors: WindowTensors) -> Tensor:
        if self._memory is None:
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
            loss_sum = self._fast.run(tensors)
            used = torch.cuda.max_memory_allocated(self._device) - before
            self._memory = _GraphMemory(self._device, used * self._settings.longest_window // len(tensors.ids_TB))
            return loss_sum
        with self._memory.in_use():
            loss_sum = self._fast.run(tensors)
        # Out of the graphs' memory, where a replay may write.
        return loss_sum.clone()

    def _tensors(self, step: int, window: DeviceWindow) -> WindowTensors:
        from ulmfit_dist.models.fast_lm import WindowTensors

        settings = self._settings
        counts = Denominators.of_window(window.num_valid, settings.num_lanes, 1)
        ar = settings.penalties.ar_alpha / (counts.tokens * self._size)
        tar = settings.penalties.tar_beta / (counts.pairs * self._size) if counts.pairs else 0.0
        keys = [site_key(settings.seed, step, site) for site in self._fast.sites]
        return WindowTensors(
            window.inputs,
            window.targets.dense(window.inputs.shape),
            upload(keys, torch.int64, self._device),
            upload([1 / counts.tokens, ar, tar], torch.float32, self._device),
        )


class _GraphMemory:
    """The memory that all windows share: they run one after the other, and only their losses outlive them.

    It starts as one piece of `size` bytes that the longest window fits in. Growing from window to window would leave
    pieces too small for the next: 8.7 GiB at 512 lanes, with 3.2 in use. Pieces belong to a stream, so windows that use
    it run on its own.
    """

    def __init__(self, device: torch.device, size: int) -> None:
        torch.cuda.empty_cache()  # what the window before it was run in
        self.pool = torch.cuda.MemPool()
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._device = device
        with torch.cuda.stream(self.stream), torch.cuda.use_mem_pool(self.pool, device):
            torch.empty(size, dtype=torch.uint8, device=device)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Run what is inside in this memory, in order with the current stream."""
        outside = torch.cuda.current_stream(self._device)
        self.stream.wait_stream(outside)
        # The pool serves one thread, and so backward has to stay on it.
        here = torch.autograd.set_multithreading_enabled(False)
        with torch.cuda.stream(self.stream), torch.cuda.use_mem_pool(self.pool, self._device), here:
            yield
        outside.wait_stream(self.stream)


class _Recorded:
    """One window length: the tensors that its graph reads, the graph, and the loss it leaves."""

    def __init__(self, tensors: WindowTensors) -> None:
        self._inputs = type(tensors)(*(tensor.clone() for tensor in tensors))
        self._graph: torch.cuda.CUDAGraph | None = None
        self._loss_sum = torch.zeros(0)

    def replay(self, run: Callable[[WindowTensors], Tensor], tensors: WindowTensors, memory: _GraphMemory) -> Tensor:
        """Run on these tensors; record first if this is the first time."""
        for own, given in zip(self._inputs, tensors, strict=True):
            own.copy_(given)
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            # thread_local: the thread that reads ahead may pin memory meanwhile.
            with torch.cuda.graph(self._graph, memory.pool.id, memory.stream, "thread_local"):  # type: ignore[arg-type]
                self._loss_sum = run(self._inputs)
        self._graph.replay()
        return self._loss_sum


class Numbers:
    """A few numbers of a step on their way from the device: asked for at once, read when they are there."""

    def __init__(self, values: Tensor) -> None:
        self._host, self._arrived = values, None
        if values.is_cuda:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.current_stream(values.device).record_event()

    def read(self) -> list[float]:
        """Wait for them and return them."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host.tolist()


def _join_states(parts: list[State]) -> State:
    """Put the states of consecutive lanes side by side."""
    layers = zip(*parts, strict=True)
    return [(torch.cat([h for h, _ in layer], 1), torch.cat([c for _, c in layer], 1)) for layer in layers]


@functools.cache
def _triton_found() -> bool:
    return importlib.util.find_spec("triton") is not None
