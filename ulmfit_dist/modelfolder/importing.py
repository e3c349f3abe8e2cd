"""Import language models of the field as model folders that every stage takes like our own.

Here and not in finetune: a model folder is all that is made, and no training is needed for it. This is the only place
of the package that reads a pickle, and it reads it as data (pickledata.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ulmfit_dist.config import Settings, parse_settings
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import digest_file
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import save_language_model
from ulmfit_dist.modelfolder.itos import AWD_LSTM_LM, MEAN_ROW, generation, read_itos, translated
from ulmfit_dist.modelfolder.layouts import ForeignWeights, read_weights
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.special import PAD_ID
from ulmfit_dist.tokenization.spelling import count_characters
from ulmfit_dist.tokenization.vocabulary import Vocabulary
from ulmfit_dist.tokenization.word import WordTokenizer

Direction = Literal["forward", "backward"]
_DIRECTIONS: dict[str, Direction] = {"fwd": "forward", "bwd": "backward"}
_ROWS = ("encoder.embedding", "decoder_bias")
_OWN_RULES = "ulmfit-1"  # for a model whose text was cut by white space alone


class ImportSettings(Settings):
    """What a weight file does not say of itself."""

    direction: Direction | None = Field(default=None, description="default: fwd or bwd in the weight file's name")
    language: str = Field(default="en", description="spaCy's code of the language whose rules cut words")
    rules: str | None = Field(default=None, description="rule set; default: the one of the vocabulary's special tokens")


def import_weights(weights: Path, itos: Path, out: Path, settings: ImportSettings | None = None) -> dict[str, Any]:
    """Write a language-model folder from a weight file and its vocabulary; return what was found, as plain values.

    Sizes, and whether the decoder has a bias, are those of the arrays. The vocabulary is the itos in its order, unless
    `settings.rules` name another generation's rules: then its special tokens are translated. Tokens that these rules
    need and the vocabulary lacks get the mean row (`mean_rows` of the summary).
    Raises InputError for files that are no such model, do not belong together, or try to run something.
    """
    settings = settings or ImportSettings()
    direction = settings.direction or _direction(weights)
    old = read_itos(itos)
    source = generation(old)
    rules = settings.rules or (_OWN_RULES if source == AWD_LSTM_LM else source)
    # The recipe is checked before the weights are read, which takes seconds.
    values = {"language": settings.language, "rules": rules, "max_vocab": max(len(old), 60_000), "min_freq": 1}
    recipe = parse_settings(WordRecipe, values, "the import's settings")
    foreign = read_weights(weights)
    if foreign.vocab_size != len(old):
        raise InputError(
            f"{itos} is not the vocabulary of {weights}",
            found=f"{len(old):,} tokens for {foreign.vocab_size:,} embedding rows",
            do="give the two files that were published together",
        )
    tokens, rows = translated(old, source, rules)
    model = _model(foreign, rows)
    tokenizer = WordTokenizer(recipe, Vocabulary(tuple(tokens), _characters(tokens)))
    summary = {
        "layout": foreign.layout,
        "vocabulary": source,
        "rules": rules,
        "direction": direction,
        "vocab_size": len(tokens),
        **foreign.settings.model_dump(include={"embedding_size", "hidden_size", "num_layers", "decoder_bias"}),
        "encoder_only": foreign.encoder_only,
        "mean_rows": [token for token, row in zip(tokens, rows, strict=True) if row == MEAN_ROW],
    }
    files = {"weights": digest_file(weights), "itos": digest_file(itos)}
    config = ModelConfig(
        kind="language_model",
        unit="word",
        direction=direction,
        language=settings.language,
        training={"stage": "import_weights", "files": files, **summary},
    )
    save_language_model(out, model, tokenizer, config)
    return summary


def _direction(weights: Path) -> Direction:
    found = [direction for part, direction in _DIRECTIONS.items() if part in weights.name.lower()]
    if len(found) != 1:
        raise InputError(
            f"{weights.name} does not say which way its model reads",
            found="neither fwd nor bwd in the name" if not found else "both fwd and bwd in the name",
            do="give the direction: forward or backward",
        )
    return found[0]


def _model(foreign: ForeignWeights, rows: list[int]) -> LanguageModel:
    state = dict(foreign.tensors)
    if rows != list(range(foreign.vocab_size)):
        state |= {name: _taken(state[name], rows) for name in _ROWS if name in state}
    model = LanguageModel(len(rows), foreign.settings, PAD_ID)
    # The layers of one file may be parts of one storage, which safetensors refuses. The embedding of 2018 is 381 MB.
    own = {name: tensor.contiguous() if name == _ROWS[0] else _copied(tensor) for name, tensor in state.items()}
    model.load_state_dict(own, assign=True)
    return model.eval()


def _copied(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _taken(rows: Tensor, source: list[int]) -> Tensor:
    return torch.cat([rows, rows.mean(dim=0, keepdim=True)])[torch.tensor(source)]


def _characters(tokens: list[str]) -> dict[str, int]:
    # No counts come with the files. Their words stand in the order of frequency, which falls like 1/rank (Zipf).
    return dict(count_characters({token: max(1, len(tokens) // rank) for rank, token in enumerate(tokens, start=1)}))
