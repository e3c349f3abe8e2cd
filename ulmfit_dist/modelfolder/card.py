"""The model card: README.md with YAML front matter, as model hubs read it."""

from __future__ import annotations

import json
from typing import Any

from ulmfit_dist.modelfolder.config import ModelConfig

CARD_NAME = "README.md"
_TASKS = {"language_model": "text-generation", "classifier": "text-classification"}
_METRICS = {
    "loss": "loss (nats a token)",
    "perplexity": "perplexity (a token; not comparable between vocabularies)",
    "bits_per_character": "bits per character",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "unknown_rate": "unknown tokens",
}


def model_card(config: ModelConfig) -> str:
    """Return the card's text: what the model is, what it was trained on, how well it does, how to use it."""
    metrics = _metrics(config)
    sections = [
        _front_matter(config, metrics),
        f"# {_title(config)}\n",
        _what(config),
        _table(
            "Metrics on the validation split", [(_METRICS[name], f"{value:.4f}") for name, value in metrics.items()]
        ),
        _table("Training", [(key, json.dumps(value)) for key, value in _rest(config).items()]),
        _use(config),
    ]
    return "\n".join(section for section in sections if section)


def _layers(config: ModelConfig) -> str:
    return {"awd_lstm": "AWD-LSTM", "qrnn": "QRNN"}[config.architecture.encoder]


def _title(config: ModelConfig) -> str:
    noun = "language model" if config.kind == "language_model" else "text classifier"
    return f"{_layers(config)} {noun}, {config.unit} unit, {config.direction}"


def _front_matter(config: ModelConfig, metrics: dict[str, float]) -> str:
    lines = ["---", "library_name: ulmfit_dist", f"pipeline_tag: {_TASKS[config.kind]}"]
    lines += [f"language: {config.language}"] if config.language else []
    lines += ["tags:", "- ulmfit", f"- {_layers(config).lower()}", f"- {config.unit}", f"- {config.direction}"]
    lines += ["metrics:", *(f"- {name}" for name in metrics)] if metrics else []
    return "\n".join([*lines, "---\n"])


def _what(config: ModelConfig) -> str:
    sizes = config.architecture
    text = (
        f"Embedding {sizes.embedding_size}, {sizes.num_layers} {_layers(config)} layers of {sizes.hidden_size}, "
        f"vocabulary {config.vocab_size}, tied decoder.\n"
    )
    if config.labels:
        text += f"\nClasses: {', '.join(config.labels)}.\n"
    return text


def _metrics(config: ModelConfig) -> dict[str, float]:
    metrics = config.training.get("metrics", {})
    return {name: float(metrics[name]) for name in _METRICS if isinstance(metrics.get(name), int | float)}


def _rest(config: ModelConfig) -> dict[str, Any]:
    return {key: value for key, value in sorted(config.training.items()) if key != "metrics"}


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    body = "\n".join(f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in rows)
    return f"## {title}\n\n| | |\n| --- | --- |\n{body}\n"


def _use(config: ModelConfig) -> str:
    if config.kind == "classifier":
        command = 'ulmfit predict THIS_FOLDER --text "..."'
    else:
        command = "ulmfit finetune-lm THIS_FOLDER DOCUMENTS --out OUT"
    return (
        f"## Use\n\n    {command}\n\n"
        "The vocabulary in tokenizer/ belongs to these weights; another one is refused.\n"
        "The model repeats what its training text says, errors and prejudice included.\n"
    )
