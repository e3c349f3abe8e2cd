"""Measures of a language model by hand."""

from __future__ import annotations

import math

import pytest

from ulmfit_dist.training.metrics import LMScore, bits_per_character, perplexity


def test_score_of_a_uniform_model() -> None:
    score = LMScore(100 * math.log(8), 25, 100, 400, 10, 60.0)
    metrics = score.as_metrics()
    assert metrics["perplexity"] == pytest.approx(8)
    assert metrics["accuracy"] == 0.25
    assert metrics["unknown_rate"] == 0.1
    # 3 bits a token for 100 tokens, 60 bits of spelling, 400 characters.
    assert metrics["bits_per_character"] == pytest.approx((300 + 60) / 400)


def test_knowing_fewer_words_does_not_pay() -> None:
    assert bits_per_character(10.0, 50.0, 100) > bits_per_character(10.0, 0.0, 100)


def test_perplexity_of_a_diverged_model_is_a_number() -> None:
    assert math.isfinite(perplexity(1e6))
