"""Word tokens: a language's rule tokenizer of spaCy between the two halves of a rule set: the reference path."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import pairwise, repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ulmfit_dist.files import fingerprint
from ulmfit_dist.tokenization.chunk_table import ChunkTable
from ulmfit_dist.tokenization.chunks import ChunkCutter
from ulmfit_dist.tokenization.memo import ChunkMemo
from ulmfit_dist.tokenization.rawtext import split_fields
from ulmfit_dist.tokenization.recipe import WordRecipe, parse_recipe
from ulmfit_dist.tokenization.rules import rule_set
from ulmfit_dist.tokenization.segmenters import SEGMENTERS, SegmentedWords
from ulmfit_dist.tokenization.spacy_words import SpacyWords
from ulmfit_dist.tokenization.special import PAD_ID, UNK_ID
from ulmfit_dist.tokenization.spelling import CharacterModel
from ulmfit_dist.tokenization.tokenizer import Encoded, write_description
from ulmfit_dist.tokenization.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VOCABULARY_NAME = "vocabulary.json"


class WordSplitter:
    """Cuts raw documents into word tokens, without a vocabulary. `segmented`: by a segmenter, not by spaCy's rules.

    Raises RecipeError for a language without rules (when the recipe is made) or an unknown rule set.
    """

    def __init__(self, recipe: WordRecipe) -> None:
        self.rules = rule_set(recipe.rules)
        self.segmented = recipe.language in SEGMENTERS
        self._words: SpacyWords | SegmentedWords = (
            SegmentedWords(recipe.language) if self.segmented else SpacyWords(recipe.language, self.rules.spacy_cases)
        )
        self.identity = fingerprint({"rules": self.rules.identity(), "cuts": self._words.identity()})
        """Equal identities cut every text alike."""
        self.made_with = self._words.made_with

    @cached_property
    def chunk_cutter(self) -> ChunkCutter:
        """The same cuts chunk by chunk."""
        return ChunkCutter(self.rules, self._words)

    def tokens(self, text: str) -> list[str]:
        """Return a document's tokens: bos first, its fields as the rule set lays them out."""
        out: list[str] = []
        for part in self.rules.parts(split_fields(text)):
            out += part.marks
            out += self.rules.after(self._words.words(self.rules.before(part.text)))
        return out

    def count_words(self, text: str) -> int:
        """Return how many stretches between white space a document has.

        Where white space is no token they are counted after the rules that rewrite whole texts (`<br />` is none).
        """
        fields = split_fields(text)
        if self.rules.chunking.keeps_white_space:
            return sum(len(field.split()) for field in fields)
        count = 0
        for part in self.rules.parts(fields):
            rewritten = part.text
            for rule in self.rules.chunking.field_rules:
                rewritten = rule(rewritten)
            count += len(rewritten.split())
        return count

    def restore(self, tokens: list[str]) -> str:
        """Read tokens as text: marks are acted on, words stand between blanks."""
        return self.rules.restore(tokens)


class WordTokenizer:
    """A word splitter with a vocabulary. Implements the Tokenizer protocol."""

    unit: Literal["word"] = "word"
    unk_id, pad_id = UNK_ID, PAD_ID

    def __init__(self, recipe: WordRecipe, vocabulary: Vocabulary) -> None:
        self.recipe, self.vocabulary = recipe, vocabulary
        self._splitter = WordSplitter(recipe)
        self.bos_id = vocabulary.stoi[rule_set(recipe.rules).bos]
        self._memo = ChunkMemo(self._splitter)
        self._spelling = CharacterModel(vocabulary.characters)
        self._ids = np.zeros(0, np.uint32)
        self._bits: dict[int, float] = {}
        self.vocab_size = len(vocabulary.itos)
        self.name = f"{recipe.language}-word-{self.vocab_size}"
        parts = {"unit": self.unit, "splitter": self._splitter.identity, "tokens": vocabulary.itos}
        self.fingerprint = fingerprint(parts)

    def use_table(self, folder: Path) -> None:
        """Look chunks up in a chunk table from now on. Raises DigestError for a table of other rules."""
        self._memo = ChunkMemo(self._splitter, ChunkTable(folder, self._splitter.identity))
        self._ids, self._bits = self._ids[:0], {}

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Turn raw documents into ids, in order."""
        known = self._memo.tokens
        tokens = self._memo.encode(texts)
        if self._memo.tokens is not known:
            self._ids, self._bits = self._ids[:0], {}
        new = self._memo.tokens[len(self._ids) :]
        stoi = self.vocabulary.stoi
        self._ids = np.concatenate([self._ids, np.fromiter(map(stoi.get, new, repeat(UNK_ID)), np.uint32, len(new))])
        ids = self._ids[tokens.codes]
        unknown = np.flatnonzero(ids == UNK_ID)
        first_unknown = np.searchsorted(unknown, tokens.starts)
        out = []
        bounds = zip(
            texts,
            pairwise(tokens.starts.tolist()),
            pairwise(first_unknown.tolist()),
            tokens.words.tolist(),
            strict=True,
        )
        for text, (start, end), (first, last), words in bounds:
            bits = math.fsum(map(self._bits_of, tokens.codes[unknown[first:last]].tolist())) if first < last else 0.0
            out.append(Encoded(ids[start:end], len(text), words, last - first, bits))
        return out

    def encode_reference(self, texts: Sequence[str]) -> list[Encoded]:
        """Do as `encode`, by spaCy and the rules alone."""
        return [self._encode_reference(text) for text in texts]

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of a raw document, unknown words as they are spelled."""
        return self._splitter.tokens(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return readable text for ids."""
        return self._splitter.restore([self.vocabulary.itos[index] for index in ids])

    def save(self, folder: Path) -> None:
        """Write the tokenizer folder."""
        self.vocabulary.save(folder / VOCABULARY_NAME)
        write_description(folder, self, self.recipe, [VOCABULARY_NAME], self._splitter.made_with)

    def _encode_reference(self, text: str) -> Encoded:
        tokens = self._splitter.tokens(text)
        ids = np.fromiter(map(self.vocabulary.stoi.get, tokens, repeat(UNK_ID)), np.uint32, len(tokens))
        unknown = (tokens[index] for index in np.flatnonzero(ids == UNK_ID))
        bits = math.fsum(map(self._spelling.bits, unknown))
        words = self._splitter.count_words(text)
        return Encoded(ids, len(text), words, int(np.count_nonzero(ids == UNK_ID)), bits)

    def _bits_of(self, code: int) -> float:
        bits = self._bits.get(code)
        if bits is None:
            bits = self._bits[code] = self._spelling.bits(self._memo.tokens[code])
        return bits


def open_word_tokenizer(folder: Path, recipe: dict[str, Any]) -> WordTokenizer:
    """Open the word tokenizer of a folder whose files are checked; `recipe` is that of its description."""
    parsed = parse_recipe(recipe, str(folder))
    assert isinstance(parsed, WordRecipe)
    return WordTokenizer(parsed, Vocabulary.load(folder / VOCABULARY_NAME))
