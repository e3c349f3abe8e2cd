"""Settings of the stages that this package adds, for plans: they need neither Ray nor a tokenizer's libraries."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ulmfit_dist.config import Settings, operational
from ulmfit_dist.tokenization.recipe import SubwordRecipe, WordRecipe


class TrainTokenizerSettings(Settings):
    """What a token is, and how many actors count words."""

    recipe: Annotated[WordRecipe | SubwordRecipe, Field(discriminator="unit")]
    workers: int = operational(2, "actors that count words")


class TokenizeSettings(Settings):
    """Tokenization has no settings of its own: the documents and the tokenizer say everything."""

    workers: int = operational(2, "actors that tokenize")
