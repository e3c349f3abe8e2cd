"""The model card: front matter that parses, measures that are there, nothing that is not known."""

from __future__ import annotations

from ulmfit_dist.modelfolder.card import model_card
from ulmfit_dist.modelfolder.config import ModelConfig


def _front_matter(card: str) -> list[str]:
    lines = card.splitlines()
    assert lines[0] == "---"
    return lines[1 : lines.index("---", 1)]


def test_card_of_a_language_model() -> None:
    metrics = {"loss": 4.25, "perplexity": 70.1054, "bits_per_character": 1.5, "epoch": 3}
    config = ModelConfig(
        kind="language_model",
        unit="word",
        direction="backward",
        language="en",
        vocab_size=8000,
        training={"metrics": metrics, "seed": 42, "train_digest": "ab|cd"},
    )
    card = model_card(config)
    matter = _front_matter(card)
    assert {"language: en", "pipeline_tag: text-generation", "- backward", "- perplexity"} <= set(matter)
    assert "- epoch" not in matter
    assert "| 70.1054 |" in card
    assert "| seed | 42 |" in card
    assert "ab\\|cd" in card
    assert "vocabulary 8000" in card
    assert "finetune-lm" in card


def test_card_of_a_classifier_names_its_classes() -> None:
    config = ModelConfig(kind="classifier", unit="subword", direction="forward", labels=["neg", "pos"])
    card = model_card(config)
    assert "Classes: neg, pos." in card
    assert "pipeline_tag: text-classification" in _front_matter(card)
    assert not any(line.startswith(("language:", "metrics:")) for line in _front_matter(card))
    assert "## Metrics" not in card
    assert "ulmfit predict" in card
