"""Stop words of each language, taken from the crawl itself: no list has all languages, and no default is English."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ulmfit_dist.crawl.language import MULTIPLE, UNDETERMINED
from ulmfit_dist.crawl.minhash import units_of

if TYPE_CHECKING:
    from collections.abc import Iterable

# The ten or twenty most frequent words are function words everywhere; Gopher asks for two of eight.
NUM_STOP_WORDS = 20
MIN_DOCUMENTS = 100
# What a piece tells of a language: the most frequent words of all pieces are among the 500 of each.
_TOLD = 500
_START = 2000
_MAX_DIFFERENT = 200_000
_NO_LANGUAGE = ("", UNDETERMINED, MULTIPLE)


class WordCounts:
    """In how many documents of each language a word stands, by its hash; over the documents of a piece."""

    def __init__(self) -> None:
        self._words: dict[str, Counter[int]] = {}
        self._documents: Counter[str] = Counter()

    def add(self, language: str, text: str) -> None:
        """Count the words of a text's first 2,000 characters."""
        words = self._words.setdefault(language, Counter())
        words.update(set(units_of(text[:_START]).hashes.tolist()))
        self._documents[language] += 1
        if len(words) > _MAX_DIFFERENT:
            self._words[language] = Counter(dict(_most(words, _MAX_DIFFERENT // 2)))

    def to_json(self) -> dict[str, Any]:
        """{language: {"documents": n, "words": [[hash, documents], ...]}}, the most frequent first."""
        return {
            language: {"documents": self._documents[language], "words": _most(words, _TOLD)}
            for language, words in sorted(self._words.items())
        }


def stop_words(pieces: Iterable[dict[str, Any]]) -> dict[str, list[int]]:
    """Return {language: hashes of its most frequent words} from what the pieces counted.

    A language of under 100 documents has none: its most frequent words would be its few subjects. Nor has what is no
    language: a text in one of many would have to hold the words of the others.
    """
    words: dict[str, Counter[int]] = {}
    documents: Counter[str] = Counter()
    for piece in pieces:
        for language, told in piece.items():
            documents[language] += told["documents"]
            words.setdefault(language, Counter()).update(dict(told["words"]))
    return {
        language: sorted(word for word, _ in _most(counts, NUM_STOP_WORDS))
        for language, counts in sorted(words.items())
        if documents[language] >= MIN_DOCUMENTS and language not in _NO_LANGUAGE
    }


def _most(words: Counter[int], number: int) -> list[tuple[int, int]]:
    return sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))[:number]
