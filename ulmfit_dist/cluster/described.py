"""What a tokenizer folder says of itself: for a driver, which only names the folder to its workers.

Opening a word tokenizer loads spaCy and compiles its patterns: a second before the first worker could start (three with
torch). The workers open it anyway, with every check of files and versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ulmfit_dist.errors import InputError
from ulmfit_dist.files import read_json
from ulmfit_dist.tokenization.recipe import TokenizerRecipe, parse_recipe
from ulmfit_dist.tokenization.special import PAD_ID
from ulmfit_dist.tokenization.tokenizer import DESCRIPTION_NAME


@dataclass(frozen=True)
class DescribedTokenizer:
    """A tokenizer by its description; every field is what the Tokenizer of that folder has."""

    unit: Literal["word", "subword"]
    fingerprint: str
    vocab_size: int
    recipe: TokenizerRecipe
    pad_id: int = PAD_ID


def describe_tokenizer(folder: Path) -> DescribedTokenizer:
    """Read a tokenizer folder's description and nothing else. InputError when there is none that can be read."""
    try:
        says = read_json(folder / DESCRIPTION_NAME)
        recipe = parse_recipe(says["recipe"], str(folder))
        return DescribedTokenizer(says["unit"], says["fingerprint"], says["vocab_size"], recipe)
    except (OSError, ValueError, TypeError, KeyError) as error:
        found, do = f"{DESCRIPTION_NAME}: {error!r}", "name a folder that train-tokenizer wrote"
        raise InputError(f"{folder} is not a tokenizer folder", found=found, do=do) from error
