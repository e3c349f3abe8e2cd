"""Word counts, which merge in any order, and the vocabulary made from them, which so does not depend on sharding."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ulmfit_dist.errors import DataError
from ulmfit_dist.files import canonical_json, read_json, write_bytes, write_json
from ulmfit_dist.tokenization.rules import rule_set
from ulmfit_dist.tokenization.spelling import count_characters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from ulmfit_dist.tokenization.recipe import WordRecipe
    from ulmfit_dist.tokenization.word import WordSplitter


@dataclass
class WordCounts:
    """How often each token occurs in some documents (special tokens among them), and how many documents there were."""

    tokens: Counter[str] = field(default_factory=Counter)
    documents: int = 0

    def words(self, specials: Collection[str]) -> dict[str, int]:
        """Return the counts of what is no special token."""
        return {token: count for token, count in self.tokens.items() if token not in specials}

    def merge(self, *others: WordCounts) -> None:
        """Add the counts of other documents to these; the order of merging makes no difference."""
        for other in others:
            self.tokens.update(other.tokens)
            self.documents += other.documents

    def save(self, path: Path) -> None:
        """Write the counts as JSON, sorted: equal counts give equal bytes."""
        write_bytes(path, canonical_json({"documents": self.documents, "tokens": self.tokens}))

    @classmethod
    def load(cls, path: Path) -> WordCounts:
        """Read what `save` wrote."""
        values = read_json(path)
        return cls(Counter(values["tokens"]), int(values["documents"]))


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in id order, special ones first, and the character counts that price unknown words."""

    itos: tuple[str, ...]
    characters: dict[str, int]

    @cached_property
    def stoi(self) -> dict[str, int]:
        """The id of each token."""
        return {token: index for index, token in enumerate(self.itos)}

    def save(self, path: Path) -> None:
        """Write the vocabulary as JSON."""
        write_json(path, {"tokens": self.itos, "characters": dict(sorted(self.characters.items()))})

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote."""
        values: dict[str, Any] = read_json(path)
        return cls(tuple(values["tokens"]), values["characters"])


def count_words(texts: Iterable[str], splitter: WordSplitter) -> WordCounts:
    """Count the tokens of raw documents."""
    counts = WordCounts()
    for text in texts:
        counts.tokens.update(splitter.tokens(text))
        counts.documents += 1
    return counts


def build_vocabulary(counts: WordCounts, recipe: WordRecipe) -> Vocabulary:
    """Take the special tokens, then the most frequent tokens of at least min_freq, ties in the order of the token.

    At most max_vocab entries, special tokens included. Raises DataError if there is no text or no frequent token.
    """
    specials = rule_set(recipe.rules).specials
    if not counts.documents:
        raise DataError(
            "there is no text to make a vocabulary from", found="0 documents", do="check the input and its filters"
        )
    words = counts.words(specials)
    frequent = [(-count, token) for token, count in words.items() if count >= recipe.min_freq]
    if not frequent:
        most = max(words.values(), default=0)
        raise DataError(
            f"no word occurs min_freq = {recipe.min_freq} times",
            found=f"{counts.documents} documents, most frequent word {most} times",
            do="lower min_freq or give more text",
        )
    chosen = [token for _, token in sorted(frequent)[: recipe.max_vocab - len(specials)]]
    return Vocabulary((*specials, *chosen), dict(count_characters(words)))
