"""Leakage: test texts that also stand in a training text, so that a score on them says little.

Searched for by a stage of its own: it needs no model, so that a CPU does it while GPUs train.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, read_documents
from ulmfit_dist.files import write_json
from ulmfit_dist.stage import StageCall, Summary

LEAKAGE_NAME = "leakage.json"
_MAX_EXAMPLES = 10
# "A good film" stands in many reviews by chance: shorter test texts count only when the whole text is equal.
MIN_CONTAINED_WORDS = 5


@dataclass(frozen=True, slots=True)
class Leak:
    """A test document found in a training document of `origin`: the same words (`exact`), or words within its words."""

    test_id: str
    training_id: str
    origin: str
    exact: bool


class LeakageSettings(Settings):
    """Nothing to choose: what is a leak is defined by `find_leaks`."""


_PLANE = 0x10000
_LEFT_OUT = 0


def comparison_text(text: str) -> str:
    """Return the words of a text joined by single spaces: NFKC, case folded, without punctuation and symbols.

    A text without a word (only signs) stands for itself, white space squeezed.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    # A table for numpy: `str.translate` by a dict takes five times as long, and was a third of a text's comparison.
    points = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), "<u4")
    plain = _plane()[np.minimum(points, _PLANE - 1)]
    if (beyond := points >= _PLANE).any():
        plain[beyond] = [_folded(int(code)) for code in points[beyond]]
    words = plain[plain != _LEFT_OUT].tobytes().decode("utf-32-le")
    return " ".join(words.split()) or " ".join(text.split())


@functools.cache
def _plane() -> np.ndarray:
    """What `_folded` gives for each code point of the first plane."""
    return np.array([_folded(code) for code in range(_PLANE)], "<u4")


def _folded(code: int) -> int:
    """Itself for letters, marks and digits, a space for the rest, _LEFT_OUT for invisible format signs.

    By Unicode category: the word characters of `re` leave out the vowel signs of Thai and Hindi, so that words which
    differ in them alone would look equal.
    """
    category = unicodedata.category(chr(code))
    return _LEFT_OUT if category == "Cf" else code if category[0] in "LMN" else ord(" ")


def search_leaks(call: StageCall[LeakageSettings]) -> Summary:
    """Look for the test documents in everything that models have read; write leakage.json: counts and examples.

    Inputs: `test`, and any other document folders, each an origin under its own name.
    """
    test = list(read_documents(call.inputs["test"]))
    origins = [name for name in call.inputs if name != "test"]
    rows, examples, count = [], [], 0
    for number, origin in enumerate(sorted(origins)):
        call.reporter.progress(number, len(origins), origin=origin)
        read = _Counted(read_documents(call.inputs[origin]))
        leaks = find_leaks(test, read, origin)
        exact = {leak.test_id for leak in leaks if leak.exact}
        contained = {leak.test_id for leak in leaks} - exact
        rows.append({"origin": origin, "documents": read.count, "exact": len(exact), "contained": len(contained)})
        examples += [asdict(leak) for leak in leaks[:_MAX_EXAMPLES]]
        count += len(leaks)
    write_json(call.out / LEAKAGE_NAME, {"test_documents": len(test), "origins": rows, "examples": examples})
    return {"leaks": count, "origins": rows}


class _Counted:
    """An iterable of documents that knows how many it gave."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = documents
        self.count = 0

    def __iter__(self) -> Iterator[Document]:
        for document in self._documents:
            self.count += 1
            yield document


def find_leaks(test: Sequence[Document], training: Iterable[Document], origin: str) -> list[Leak]:
    """Find test texts that are, or stand within, a training text; at most one leak a test document, in test order.

    The first equal training text is named, else the first that contains it as whole words (only for test texts of at
    least MIN_CONTAINED_WORDS words). Holds the test texts in memory; reads the training texts, named `origin`, once.
    """
    texts = [comparison_text(document.text) for document in test]
    with_text: defaultdict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        if text:
            with_text[text].append(index)
    anchored = _by_rarest_word(texts)
    exact: dict[int, str] = {}
    contained: dict[int, str] = {}
    for document in training:
        text = comparison_text(document.text)
        for index in with_text.get(text, ()):
            exact.setdefault(index, document.id)
        padded = f" {text} "
        for word in set(text.split()):
            for index in anchored.get(word, ()):
                if index not in contained and f" {texts[index]} " in padded:
                    contained[index] = document.id
    return [
        Leak(test[index].id, exact.get(index) or contained[index], origin, index in exact)
        for index in sorted(exact.keys() | contained.keys())
    ]


def _by_rarest_word(texts: list[str]) -> dict[str, list[int]]:
    """The test texts under their rarest word: a training text is compared only with those whose rarest word it has."""
    frequency = Counter(word for text in texts for word in set(text.split()))
    out: defaultdict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        words = text.split()
        if len(words) >= MIN_CONTAINED_WORDS:
            out[min(words, key=lambda word: (frequency[word], word))].append(index)
    return out
