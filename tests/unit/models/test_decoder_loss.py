"""The blockwise decoder loss against torch's own cross entropy."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ulmfit_dist.models import decoder_loss
from ulmfit_dist.models.decoder_loss import decoder_cross_entropy, decoder_scores

N, V, E = 37, 19, 5


def _inputs(bias: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(N, E, generator=generator).requires_grad_()
    weight = (3 * torch.randn(V, E, generator=generator)).requires_grad_()
    offset = torch.randn(V, generator=generator).requires_grad_() if bias else None
    return hidden, weight, offset, torch.randint(0, V, (N,), generator=generator)


@pytest.mark.parametrize("block", [1, 5 * V, 1 << 22], ids=["a row", "five rows", "one block"])
@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_gradients_equal_cross_entropy(monkeypatch: pytest.MonkeyPatch, block: int, bias: bool) -> None:
    monkeypatch.setattr(decoder_loss, "_BLOCK_CPU", block)
    results = []
    for function in (decoder_cross_entropy, lambda h, w, b, t: F.cross_entropy(F.linear(h, w, b), t, reduction="sum")):
        hidden, weight, offset, targets = _inputs(bias)
        loss = function(hidden, weight, offset, targets)
        (loss / 7).backward()
        results.append([loss.detach(), hidden.grad, weight.grad] + ([offset.grad] if offset is not None else []))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)


def test_large_scores_do_not_overflow() -> None:
    hidden, weight, offset, targets = _inputs()
    loss = decoder_cross_entropy(hidden * 1e4, weight, offset, targets)
    assert torch.isfinite(loss)


def test_scores_equal_plain_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_loss, "_BLOCK_CPU", 4 * V)
    hidden, weight, offset, targets = _inputs()
    logits = F.linear(hidden, weight, offset).detach()
    scores = decoder_scores(hidden, weight, offset, targets)
    assert float(scores.loss) == pytest.approx(float(F.cross_entropy(logits, targets, reduction="sum")), rel=1e-6)
    assert int(scores.correct) == int((logits.argmax(1) == targets).sum())


def test_no_target_costs_nothing() -> None:
    hidden, weight, offset, targets = _inputs()
    loss = decoder_cross_entropy(hidden[:0], weight, offset, targets[:0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert weight.grad is not None
    assert not weight.grad.any()
