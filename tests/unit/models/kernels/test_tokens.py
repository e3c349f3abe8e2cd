"""Embedded tokens and the rows' gradient against torch's own embedding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

T, B, E, V, WIDTH, PAD = 5, 3, 20, 31, 64, 1


@pytest.mark.parametrize("dropped", [True, False])
def test_embedding_and_gradient(dropped: bool) -> None:
    from ulmfit_dist.models.kernels.tokens import TokenMasks, add_embedding_gradient, embed

    torch.manual_seed(1)
    ids = torch.randint(0, V, (T, B), device="cuda")
    ids[0] = PAD
    table = torch.randn(V, E, device="cuda", requires_grad=True)
    words, inputs = ((torch.rand(*shape, device="cuda") > 0.3) * 1.5 for shape in ((1, V), (B, E)))
    masks = TokenMasks(words, inputs) if dropped else TokenMasks(None, None)
    plain = F.embedding(ids, table, padding_idx=PAD)
    plain = plain * words[0][ids][..., None] * inputs if dropped else plain
    out = embed(ids, table.detach(), masks, WIDTH)
    assert torch.equal(out[..., :E], plain.to(torch.bfloat16))
    assert not out[..., E:].any()
    gradient = torch.randn(T, B, WIDTH, device="cuda").to(torch.bfloat16)
    plain.backward(gradient[..., :E].float())
    total = torch.ones(V, E + 4, device="cuda")
    add_embedding_gradient(ids, gradient, masks, PAD, total[:, :E])
    assert table.grad is not None
    torch.testing.assert_close(total[:, :E], 1 + table.grad, rtol=1e-5, atol=1e-5)
    assert (total[:, E:] == 1).all()
