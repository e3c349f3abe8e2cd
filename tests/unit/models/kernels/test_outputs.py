"""The decoder's input and the last layer's gradient against autograd."""

from __future__ import annotations

import torch

T, B, E, V, WIDTH, K = 6, 4, 20, 31, 64, 32


def test_decoder_input_and_gradient_with_ar_and_tar() -> None:
    from ulmfit_dist.models.kernels.outputs import Decoder, RowGradient, decoder_input, output_gradient

    torch.manual_seed(3)
    raw = torch.zeros(T, B, WIDTH, device="cuda", dtype=torch.bfloat16)
    raw[..., :E] = torch.randn(T, B, E, device="cuda")
    mask = ((torch.rand(B, E, device="cuda") > 0.3) * 1.5).to(torch.bfloat16)
    table = torch.randn(V, K, device="cuda").to(torch.bfloat16)
    targets = torch.randint(0, V, (T, B), device="cuda")
    targets[-1, 2:] = -1
    valid = targets >= 0
    given = decoder_input(raw, mask, Decoder(table, E), targets.flatten())
    plain = raw[..., :E].float().requires_grad_()
    dropped = plain * mask.float()
    rows = given.rows.view(T, B, K)
    assert torch.equal(rows[..., :E], dropped.to(torch.bfloat16))
    assert (rows[..., E : E + 2] == 1).all()
    assert not rows[..., E + 2 :].any()
    expected = (rows.float() * table[targets.clamp(min=0)].float()).sum(-1) * valid
    torch.testing.assert_close(given.at_target.view(T, B), expected, rtol=1e-5, atol=1e-5)
    gradient = torch.randn(T * B, K, device="cuda").to(torch.bfloat16)
    factors = torch.rand(T * B, device="cuda") * valid.flatten()
    objective = (dropped.flatten(0, 1) * gradient[:, :E].float() * factors[:, None]).sum()
    objective = objective + 0.3 * dropped[valid].pow(2).sum()
    objective = objective + 0.7 * (plain[1:] - plain[:-1])[valid[1:]].pow(2).sum()
    objective.backward()
    penalties = torch.tensor([0.3, 0.7], device="cuda")
    out = output_gradient(raw, mask, given, RowGradient(gradient, factors, penalties), targets.flatten())
    assert plain.grad is not None
    assert float((out[..., :E].float() - plain.grad).norm() / plain.grad.norm()) < 4e-3
    assert not out[..., E:].any()
