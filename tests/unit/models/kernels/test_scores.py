"""Decoder's cross entropy from exponentials against torch's own in float64, hard cases among them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

N, V, K = 300, 1016, 48


def _run(rows: Tensor, table: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    from ulmfit_dist.models.kernels import scores

    at_target = (rows.float() * table[targets.clamp(min=0)].float()).sum(1) * (targets >= 0)
    grad_table = torch.full(table.shape, float("nan"), device="cuda")
    given = scores.Rows(rows, at_target, targets)
    found = scores.cross_entropy(given, table, grad_table, torch.tensor([scale], device="cuda"))
    return found.loss, found.rows.float() * found.factors[:, None], grad_table


@pytest.mark.parametrize("chunk", [64, 4480])
@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_loss_and_gradients(monkeypatch: pytest.MonkeyPatch, chunk: int, spread: float) -> None:
    from ulmfit_dist.models.kernels import scores

    monkeypatch.setattr(scores, "_CHUNK", chunk)
    torch.manual_seed(2)
    rows = (spread * torch.randn(N, K, device="cuda")).to(torch.bfloat16)
    table = torch.randn(V, K, device="cuda").to(torch.bfloat16)
    targets = torch.randint(0, V, (N,), device="cuda")
    targets[::7] = -1
    # Some rows are sure of their target: their gradient is a small difference.
    rows[1::7] = (table[targets[1::7]].float() * spread).to(torch.bfloat16)
    true_rows, true_table = (tensor.double().requires_grad_() for tensor in (rows, table))
    true = F.cross_entropy(true_rows @ true_table.t(), targets, reduction="none", ignore_index=-1)
    (true.sum() / 40).backward()
    assert float(true.max()) < 60
    loss, grad_rows, grad_table = _run(rows, table, targets, 1 / 40)
    torch.testing.assert_close(loss.double(), true.detach(), rtol=1e-4, atol=1e-4)
    for ours, plain in ((grad_rows, true_rows.grad), (grad_table, true_table.grad)):
        assert plain is not None
        assert float((ours - plain).norm() / plain.norm()) < 5e-3


def test_a_target_of_no_likelihood_gives_finite_numbers_and_nan_stays_nan() -> None:
    rows = torch.ones(2, K, device="cuda", dtype=torch.bfloat16)
    table = torch.zeros(V, K, device="cuda", dtype=torch.bfloat16)
    table[0] = -100
    loss, grad_rows, grad_table = _run(rows, table, torch.zeros(2, dtype=torch.int64, device="cuda"), 1.0)
    assert (loss > 60).all()
    assert torch.isfinite(grad_rows).all()
    assert torch.isfinite(grad_table).all()
    table[5, 3] = float("nan")
    assert _run(rows, table, torch.zeros(2, dtype=torch.int64, device="cuda"), 1.0)[0].isnan().all()
