"""Rows moved to another vocabulary, by hand."""

from __future__ import annotations

import pytest
import torch

from ulmfit_dist.finetune.remap import coverage, remap_rows

OLD = ("xxunk", "the", "cat")
NEW = ("xxunk", "film", "the", "plot")


def test_known_rows_move_and_new_rows_are_the_mean() -> None:
    rows = torch.tensor([[0.0, 3.0], [1.0, 6.0], [5.0, 0.0]])
    assert remap_rows(rows, OLD, NEW).tolist() == [[0.0, 3.0], [2.0, 3.0], [1.0, 6.0], [2.0, 3.0]]


def test_the_bias_follows_the_same_rule() -> None:
    assert remap_rows(torch.tensor([3.0, 0.0, 6.0]), OLD, NEW).tolist() == [3.0, 3.0, 0.0, 3.0]


def test_the_same_vocabulary_changes_nothing() -> None:
    rows = torch.randn(3, 4)
    assert torch.equal(remap_rows(rows, OLD, OLD), rows)


def test_coverage_counts_rows_and_running_tokens() -> None:
    found = coverage(OLD, NEW, {"the": 6, "film": 3, "rare": 1}).as_json()
    assert (found["rows"], found["rows_hit"], found["tokens"], found["tokens_hit"]) == (4, 2, 10, 6)
    assert found["row_share"] == pytest.approx(0.5)
    assert found["token_share"] == pytest.approx(0.6)
