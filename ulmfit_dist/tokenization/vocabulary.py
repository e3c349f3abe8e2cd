"""Word counts, which merge in any order, and the vocabulary made from them, which so does not depend on sharding."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from ulmfit_dist.errors import DataError
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.tokenization.memo import ChunkMemo
from ulmfit_dist.tokenization.rules import rule_set
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.spelling import count_characters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from ulmfit_dist.tokenization.recipe import WordRecipe
    from ulmfit_dist.tokenization.word import WordSplitter

_DOCUMENTS_A_BATCH = 4096


@dataclass(frozen=True)
class WordCounts:
    """How often each word occurs in some documents; a word is a token that is not special.

    `words`: the counts, of a large corpus those of the most frequent words only; `documents`; `characters`: those of
    all words (spelling.count_characters); `types`: how many different words there are; `tokens`: how many in all.
    """

    words: Mapping[str, int]
    documents: int
    characters: Mapping[str, int]
    types: int
    tokens: int

    @classmethod
    def of(cls, tokens: Mapping[str, int], documents: int, specials: Collection[str] = SPECIALS) -> WordCounts:
        """Make them from the counts of all tokens, special ones among them."""
        words = {token: count for token, count in tokens.items() if token not in specials}
        return cls(words, documents, count_characters(words), len(words), sum(words.values()))


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
    """Count the words of raw documents, in this process."""
    memo, counts, documents = ChunkMemo(splitter), Counter[str](), 0
    stream = iter(texts)
    while batch := list(islice(stream, _DOCUMENTS_A_BATCH)):
        counts.update(memo.count(batch).as_dict())
        documents += len(batch)
    return WordCounts.of(counts, documents, splitter.rules.specials)


def require_documents(counts: WordCounts) -> None:
    """Raise DataError if there are no documents."""
    if not counts.documents:
        raise DataError(
            "there is no text to make a vocabulary from", found="0 documents", do="check the input and its filters"
        )


def build_vocabulary(counts: WordCounts, recipe: WordRecipe) -> Vocabulary:
    """Take the special tokens, then the most frequent tokens of at least min_freq, ties in the order of the token.

    At most max_vocab entries, special tokens included; `fastai-0.7` counts both in its own way (RuleSet.old_limits).
    Raises DataError if there is no text or no frequent token, or if the rule set's bos is not among the frequent.
    """
    rules = rule_set(recipe.rules)
    require_documents(counts)
    least = recipe.min_freq + rules.old_limits
    limit = recipe.max_vocab - (0 if rules.old_limits else len(rules.specials))
    frequent = [(-count, token) for token, count in counts.words.items() if count >= least]
    if not frequent:
        most = max(counts.words.values(), default=0)
        raise DataError(
            f"no word occurs {_often_enough(recipe.min_freq, rules.old_limits)}",
            found=f"{counts.documents} documents, most frequent word {most} times",
            do="lower min_freq or give more text",
        )
    itos = (*rules.specials, *(token for _, token in sorted(frequent)[:limit]))
    if rules.bos not in itos:
        raise DataError(
            f"the vocabulary lacks {rules.bos}, which begins each document and is an ordinary word in {rules.name}",
            found=f"{counts.documents} documents, min_freq = {recipe.min_freq}, max_vocab = {recipe.max_vocab}",
            do="lower min_freq, raise max_vocab or give more documents",
        )
    return Vocabulary(itos, dict(counts.characters))


def _often_enough(min_freq: int, old_limits: bool) -> str:
    return f"more than min_freq = {min_freq} times" if old_limits else f"min_freq = {min_freq} times"
