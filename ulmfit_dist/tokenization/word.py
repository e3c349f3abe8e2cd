"""Word tokens: a language's rule tokenizer of spaCy between the two halves of a rule set: the reference path."""

from __future__ import annotations

import math
from importlib import metadata
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ulmfit_dist.files import fingerprint
from ulmfit_dist.tokenization.rawtext import split_fields
from ulmfit_dist.tokenization.recipe import WordRecipe, parse_recipe
from ulmfit_dist.tokenization.rules import rule_set
from ulmfit_dist.tokenization.special import PAD_ID, UNK_ID
from ulmfit_dist.tokenization.spelling import CharacterModel
from ulmfit_dist.tokenization.tokenizer import Encoded, write_description
from ulmfit_dist.tokenization.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VOCABULARY_NAME = "vocabulary.json"
# spaCy keeps the cuts of the first 10,000 chunks only, and never drops one: a larger cache is 1.2-1.3 times as fast.
_CACHED_CHUNKS = 10**7
# Cache and string store only grow, by 600 bytes a new string (measured), so a long-lived worker starts anew (0.1 s).
_MAX_STRINGS = 1_000_000


class WordSplitter:
    """Cuts raw documents into word tokens, without a vocabulary.

    Raises RecipeError for a language without rules (when the recipe is made) or an unknown rule set.
    """

    def __init__(self, recipe: WordRecipe) -> None:
        self._language = recipe.language
        self._rules = rule_set(recipe.rules)
        self._cut = self._new_tokenizer()
        self.identity = fingerprint({"rules": self._rules.identity(), "cuts": _spacy_rules(self._cut)})
        """Equal identities cut every text alike."""

    def tokens(self, text: str) -> list[str]:
        """Return bos and a document's tokens; each of two or more fields begins with fld and its number, from 1."""
        fields = split_fields(text)
        if len(fields) == 1:
            return [self._rules.bos, *self._field_tokens(fields[0])]
        out = [self._rules.bos]
        for number, field in enumerate(fields, start=1):
            out += [self._rules.fld, str(number), *self._field_tokens(field)]
        return out

    def restore(self, tokens: list[str]) -> str:
        """Read tokens as text: marks are acted on, words stand between blanks."""
        return self._rules.restore(tokens)

    def _field_tokens(self, text: str) -> list[str]:
        words = [token.text for token in self._cut(self._rules.before(text))]
        if len(self._cut.vocab.strings) > _MAX_STRINGS:
            self._cut = self._new_tokenizer()
        return self._rules.after(words)

    def _new_tokenizer(self) -> Any:
        import spacy  # 1-3 s, which subword tokenizers do without

        tokenizer: Any = spacy.blank(self._language).tokenizer
        tokenizer.max_cache_size = _CACHED_CHUNKS
        return tokenizer


class WordTokenizer:
    """A word splitter with a vocabulary. Implements the Tokenizer protocol."""

    unit: Literal["word"] = "word"
    unk_id, pad_id = UNK_ID, PAD_ID

    def __init__(self, recipe: WordRecipe, vocabulary: Vocabulary) -> None:
        self.recipe, self.vocabulary = recipe, vocabulary
        self._splitter = WordSplitter(recipe)
        self.bos_id = vocabulary.stoi[rule_set(recipe.rules).bos]
        self._spelling = CharacterModel(vocabulary.characters)
        self.vocab_size = len(vocabulary.itos)
        self.name = f"{recipe.language}-word-{self.vocab_size}"
        parts = {"unit": self.unit, "splitter": self._splitter.identity, "tokens": vocabulary.itos}
        self.fingerprint = fingerprint(parts)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Turn raw documents into ids, in order."""
        return [self._encode(text) for text in texts]

    def encode_reference(self, texts: Sequence[str]) -> list[Encoded]:
        """Do as `encode`, by spaCy and the rules alone."""
        return [self._encode(text) for text in texts]

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of a raw document, unknown words as they are spelled."""
        return self._splitter.tokens(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return readable text for ids."""
        return self._splitter.restore([self.vocabulary.itos[index] for index in ids])

    def save(self, folder: Path) -> None:
        """Write the tokenizer folder."""
        self.vocabulary.save(folder / VOCABULARY_NAME)
        made_with = f"spacy=={metadata.version('spacy')}"
        write_description(folder, self, self.recipe, [VOCABULARY_NAME], made_with)

    def _encode(self, text: str) -> Encoded:
        tokens = self._splitter.tokens(text)
        ids = np.fromiter(map(self.vocabulary.stoi.get, tokens, repeat(UNK_ID)), np.uint32, len(tokens))
        unknown = (tokens[index] for index in np.flatnonzero(ids == UNK_ID))
        bits = math.fsum(map(self._spelling.bits, unknown))
        return Encoded(ids, len(text), len(text.split()), int(np.count_nonzero(ids == UNK_ID)), bits)


def open_word_tokenizer(folder: Path, recipe: dict[str, Any]) -> WordTokenizer:
    """Open the word tokenizer of a folder whose files are checked; `recipe` is that of its description."""
    parsed = parse_recipe(recipe, str(folder))
    assert isinstance(parsed, WordRecipe)
    return WordTokenizer(parsed, Vocabulary.load(folder / VOCABULARY_NAME))


def _spacy_rules(tokenizer: Any) -> dict[str, Any]:
    """Return what steers spaCy's cuts, as JSON values: it may change with spaCy's version."""
    from spacy.attrs import ORTH

    methods = ("prefix_search", "suffix_search", "infix_finditer", "token_match", "url_match")
    patterns = {name: getattr(getattr(tokenizer, name), "__self__", None) for name in methods}
    return {
        "patterns": {name: pattern and pattern.pattern for name, pattern in patterns.items()},
        "special_cases": {text: [token[ORTH] for token in tokens] for text, tokens in tokenizer.rules.items()},
    }
