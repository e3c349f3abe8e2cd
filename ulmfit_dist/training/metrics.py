"""Measures of a language model from plain sums."""

from __future__ import annotations

import math
from dataclasses import dataclass

_LARGEST = 700.0  # exp(710) is no float any more


@dataclass(frozen=True)
class LMScore:
    """Sums over a validation stream: nats of loss, hits, targets; and what its text weighs."""

    loss_sum: float
    correct: int
    tokens: int
    characters: int
    unknown: int
    unknown_bits: float

    def as_metrics(self) -> dict[str, float]:
        """Return loss (nats a token), perplexity, accuracy, bits_per_character, unknown_rate."""
        loss = self.loss_sum / self.tokens
        return {
            "loss": loss,
            "perplexity": perplexity(loss),
            "accuracy": self.correct / self.tokens,
            "bits_per_character": bits_per_character(self.loss_sum, self.unknown_bits, self.characters),
            "unknown_rate": self.unknown / self.tokens,
        }


def perplexity(loss: float) -> float:
    """Return e to the loss in nats a token, at most e^700."""
    return math.exp(min(loss, _LARGEST))


def bits_per_character(loss_sum: float, unknown_bits: float, characters: int) -> float:
    """Return the bits that the model and the spelling of its unknown words need for a raw character.

    Without `unknown_bits` a model of words would win by not knowing words (DESIGN section 8).
    """
    return (loss_sum / math.log(2) + unknown_bits) / max(characters, 1)
