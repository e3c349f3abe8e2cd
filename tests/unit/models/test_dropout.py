"""Dropout masks: pure functions of (seed, step, site), sliced by lane, never by rank."""

from __future__ import annotations

import pytest
import torch

from ulmfit_dist.models.dropout import DropoutMasks, masked, seeded_generator, site_key


def _masks(step: int = 3, lanes: range = range(6), seed: int = 7) -> DropoutMasks:
    return DropoutMasks(seed, step, lanes, 6)


def _locked(masks: DropoutMasks, site: str = "input", p: float = 0.4) -> torch.Tensor:
    mask = masks.locked(site, 5, p)
    assert mask is not None
    return mask


def test_mask_is_a_function_of_its_key_and_of_nothing_drawn_before() -> None:
    torch.manual_seed(1)
    first = _locked(_masks())
    other = _masks()
    other.weight("weight0", (40, 10), 0.5)
    torch.rand(100)
    assert torch.equal(first, _locked(other))


@pytest.mark.parametrize("changed", [{"step": 4}, {"seed": 8}])
def test_another_step_or_seed_gives_another_mask(changed: dict[str, int]) -> None:
    one, two = _masks().weight("w", (30, 30), 0.5), _masks(**changed).weight("w", (30, 30), 0.5)
    assert one is not None
    assert two is not None
    assert not torch.equal(one, two)


def test_another_site_gives_another_mask() -> None:
    one, two = _masks().weight("weight0", (30, 30), 0.5), _masks().weight("weight1", (30, 30), 0.5)
    assert one is not None
    assert two is not None
    assert not torch.equal(one, two)


def test_locked_mask_of_some_lanes_is_a_slice_of_all_lanes() -> None:
    whole = _locked(_masks())
    parts = [_locked(_masks(lanes=lanes)) for lanes in (range(2), range(2, 5), range(5, 6))]
    assert whole.shape == (1, 6, 5)
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_other_masks_are_the_same_whatever_the_lanes() -> None:
    for lanes in (range(2), range(2, 6)):
        assert torch.equal(_masks(lanes=lanes).rows("embedding", 50, 0.3), _masks().rows("embedding", 50, 0.3))  # type: ignore[arg-type]
        assert torch.equal(_masks(lanes=lanes).weight("w", (8, 2), 0.3), _masks().weight("w", (8, 2), 0.3))  # type: ignore[arg-type]


def test_values_are_zero_or_the_inverse_of_the_kept_share() -> None:
    mask = _masks().weight("w", (200, 200), 0.2)
    assert mask is not None
    assert set(mask.unique().tolist()) == {0.0, 1.25}
    # 40,000 draws: five standard deviations are 0.01.
    assert abs(float((mask == 0).float().mean()) - 0.2) < 0.01


def test_nothing_is_dropped_at_zero() -> None:
    masks = _masks()
    assert masks.locked("a", 4, 0.0) is None
    assert masks.rows("b", 4, 0.0) is None
    assert masks.weight("c", (4, 4), 0.0) is None
    x = torch.ones(3)
    assert masked(x, None) is x


def test_masked_keeps_the_dtype() -> None:
    assert masked(torch.ones(2, dtype=torch.bfloat16), torch.tensor([0.0, 2.0])).dtype == torch.bfloat16


def test_seeded_generator_separates_the_parts_of_its_key() -> None:
    draws = {torch.rand(1, generator=seeded_generator("cpu", *key)).item() for key in ((1, 23), (12, 3), (1, 2, 3))}
    assert len(draws) == 3


def test_site_keys_are_seeds_of_63_bits() -> None:
    keys = {site_key(1, step, "input") for step in range(1000)}
    assert len(keys) == 1000
    assert all(0 <= key < 2**63 for key in keys)
    assert max(keys) >= 2**62


def test_the_first_lanes_have_the_masks_they_have_among_all() -> None:
    whole, cut = DropoutMasks(1, 2, range(2, 7), 9), DropoutMasks(1, 2, range(2, 7), 9).first(3)
    locked, narrow = whole.locked("site", 4, 0.5), cut.locked("site", 4, 0.5)
    assert locked is not None
    assert narrow is not None
    assert torch.equal(locked[:, :3], narrow)
