"""The fast way of a window against the plain one in float32: loss, every gradient, state. Needs a Hopper GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ulmfit_dist.models.dropout import DropoutMasks, site_key
from ulmfit_dist.models.encoder import State, detach_state
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.losses import Denominators, Penalties, Targets, lm_loss

pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9), reason="no Hopper GPU here"
)

VOCAB, PAD, NUM_LANES, SEED = 203, 1, 10, 11
LANES = range(3, 9)
# No size is a multiple of 64: every padding is at work.
SETTINGS = AWDLSTMSettings(
    embedding_size=40,
    hidden_size=72,
    num_layers=3,
    output_dropout=0.3,
    hidden_dropout=0.4,
    input_dropout=0.2,
    embedding_dropout=0.3,
    weight_dropout=0.5,
)


class KernelMasks(DropoutMasks):
    """The masks of the fast way, said as the plain way asks for them: all lanes are drawn, and sliced."""

    def bernoulli(self, site: str, shape: Sequence[int], p: float) -> Tensor | None:
        from ulmfit_dist.models.kernels.masks import fill_mask

        if p == 0:
            return None
        rows = torch.empty(math.prod(shape[:-1]), shape[-1], device="cuda")
        fill_mask(rows, torch.tensor(site_key(self._seed, self._step, site), device="cuda"), p)
        return rows.view(*shape)


def _model(**changes: object) -> LanguageModel:
    settings = AWDLSTMSettings.model_validate({**SETTINGS.model_dump(), **changes})
    model = LanguageModel(VOCAB, settings, PAD, seed=5)
    with torch.no_grad():
        if model.decoder_bias is not None:
            model.decoder_bias.normal_(0, 3, generator=torch.Generator().manual_seed(2))
        model.encoder.embedding.mul_(8)
    return model.cuda()


def _window(step: int, *, short: bool) -> tuple[Tensor, Targets, int]:
    generator = torch.Generator().manual_seed(step)
    ids, targets = (torch.randint(0, VOCAB, (7, len(LANES)), generator=generator).cuda() for _ in range(2))
    valid = torch.ones_like(ids, dtype=torch.bool)
    if short:
        valid[-1, 2:] = False
        ids[~valid] = PAD
    return ids, Targets(targets[valid], valid if short else None), 7 * NUM_LANES - 6 * short


def _plain(model: LanguageModel) -> tuple[list[float], list[Tensor], State]:
    """Losses, gradients summed over two windows, state."""
    state, losses = model.encoder.initial_state(len(LANES), "cuda"), []
    for step in range(2):
        ids, targets, valid = _window(step, short=step == 1)
        masks = KernelMasks(SEED, step, LANES, NUM_LANES, "cuda")
        out = model.encoder(ids, state, masks)
        loss = lm_loss(model, out, targets, Penalties(2, 1), Denominators.of_window(valid, NUM_LANES, 1))
        loss.total.backward()
        losses.append(float(loss.cross_entropy_sum))
        state = detach_state(out.state)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return losses, gradients, state


def _fast(model: LanguageModel, *, own_recurrence: bool = False) -> tuple[list[float], list[Tensor], State]:
    from ulmfit_dist.models.fast_lm import FastLanguageModel, WindowTensors

    fast, losses = FastLanguageModel(model, LANES, own_recurrence=own_recurrence), []
    total = torch.zeros_like(fast.gradients)
    trainable = [parameter for _, group in model.layer_groups() for parameter in group if parameter.requires_grad]
    for step in range(2):
        ids, targets, valid = _window(step, short=step == 1)
        counts = Denominators.of_window(valid, NUM_LANES, 1)
        size = model.encoder.settings.embedding_size
        factors = [1 / counts.tokens, 2 / (counts.tokens * size), 1 / (counts.pairs * size)]
        keys = torch.tensor([site_key(SEED, step, site) for site in fast.sites], device="cuda")
        fast.gradients.fill_(float("nan"))
        window = WindowTensors(ids, targets.dense(ids.shape), keys, torch.tensor(factors, device="cuda"))
        losses.append(float(fast.run(window)))
        total += fast.gradients
    fast.gradients.copy_(total)
    fast.gradient_of(trainable)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return losses, gradients, fast.state


def _error(ours: Tensor, truth: Tensor) -> float:
    return float((ours.float() - truth.float()).norm() / truth.float().norm())


@pytest.mark.parametrize("own_recurrence", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decoder_bias": False, "weight_dropout": 0.0, "input_dropout": 0.0, "hidden_dropout": 0.0},
        {"hidden_size": 64, "embedding_size": 64},
    ],
    ids=["all dropouts", "few dropouts, no bias", "sizes that need no padding"],
)
def test_loss_gradients_and_state_are_those_of_the_plain_way(changes: dict[str, object], own_recurrence: bool) -> None:
    true_losses, true_gradients, true_state = _plain(_model(**changes))
    losses, gradients, state = _fast(_model(**changes), own_recurrence=own_recurrence)
    assert losses == pytest.approx(true_losses, rel=3e-3)
    names = [name for name, _ in _model(**changes).named_parameters()]
    pairs = zip(names, gradients, true_gradients, strict=True)
    # bfloat16 has 8 bits: what autocast leaves in float16, as it does torch's LSTM, would be at 0.001.
    errors = {name: _error(ours, truth) for name, ours, truth in pairs}
    assert max(errors.values()) < 1.2e-2, errors
    norms = [float(torch.cat([part.flatten() for part in parts]).norm()) for parts in (gradients, true_gradients)]
    assert norms[0] == pytest.approx(norms[1], rel=3e-3)
    for pair, truth_pair in zip(state, true_state, strict=True):
        for ours, truth in zip(pair, truth_pair, strict=True):
            assert _error(ours, truth) < 2e-2


def test_padding_stays_zero_and_a_word_without_target_or_reading_is_untouched() -> None:
    from ulmfit_dist.models.fast_lm import FastLanguageModel, WindowTensors

    model = _model()
    fast = FastLanguageModel(model, LANES)
    ids, targets, _ = _window(0, short=False)
    keys = torch.arange(len(fast.sites), device="cuda")
    for _ in range(2):
        fast.run(WindowTensors(ids, targets.dense(ids.shape), keys, torch.tensor([1.0, 2.0, 1.0], device="cuda")))
    for layer in fast._layers:
        assert not layer.hidden[..., layer.outputs :].any()
        assert not layer.cell[..., layer.outputs :].any()
    assert not fast._grad_table[VOCAB:].any()


def test_frozen_layers_get_no_gradient() -> None:
    model = _model()
    for _, group in model.layer_groups()[:-1]:
        for parameter in group:
            parameter.requires_grad_(False)
    _, gradients, _ = _fast(model)
    assert len(gradients) == 2
    _, all_gradients, _ = _fast(_model())
    # The decoder's bias and weight come first.
    for ours, truth in zip(gradients, all_gradients[:2], strict=True):
        assert _error(ours, truth) < 1e-2


def test_the_gradients_of_two_ranks_add_up_to_those_of_one() -> None:
    from ulmfit_dist.models.fast_lm import FastLanguageModel, WindowTensors

    model, results = _model(), []
    ids, targets = (torch.randint(0, VOCAB, (7, NUM_LANES), device="cuda") for _ in range(2))
    for ranks in ([range(NUM_LANES)], [range(4), range(4, NUM_LANES)]):
        total, losses = torch.zeros(()), 0.0
        for lanes in ranks:
            fast = FastLanguageModel(model, lanes)
            keys = torch.arange(100, 100 + len(fast.sites), device="cuda")
            factors = torch.tensor([0.02, 0.004, 0.003], device="cuda")
            mine = slice(lanes.start, lanes.stop)
            window = WindowTensors(ids[:, mine].contiguous(), targets[:, mine].contiguous(), keys, factors)
            losses += float(fast.run(window))
            total = total.cuda() + fast.gradients
        results.append((losses, total))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-3)
    assert _error(results[1][1], results[0][1]) < 1e-2
