"""What an unknown word costs: its letters under a unigram character model of the training text (DESIGN section 8).

Without this charge a vocabulary gets a better score in bits per character by knowing fewer words.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

END = ""  # the key that counts the ends of words in a table of character counts
_CODE_POINTS = 0x110000


def count_characters(tokens: Mapping[str, int]) -> Counter[str]:
    """Count the characters of words, each word as often as its count, and under `END` the ends of words."""
    counts = np.fromiter(tokens.values(), np.int64, len(tokens))
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    letters = np.frombuffer("".join(tokens).encode("utf-32-le", "surrogatepass"), np.uint32)
    # Sums of whole numbers under 2^53, which is exact; a loop over the letters of millions of words takes minutes.
    totals = np.bincount(letters, np.repeat(counts, lengths)).astype(np.int64)
    characters = Counter({chr(code): int(totals[code]) for code in np.flatnonzero(totals).tolist()})
    characters[END] = int(counts.sum())
    return characters


class CharacterModel:
    """A complete unigram code for words: a known character costs -log2(n_c / (N + 1)), so does the end of the word.

    N is the sum of all counts. The 1 is the share of the characters never seen: one of them costs log2(N + 1) and then
    log2 of the number of code points that have no count, all alike. The probabilities of all characters sum to one.
    """

    def __init__(self, characters: Mapping[str, int]) -> None:
        total = math.log2(sum(characters.values()) + 1)
        self._bits = {character: total - math.log2(count) for character, count in characters.items() if count}
        unseen = _CODE_POINTS - sum(character != END for character in self._bits)
        self._unseen_bits = total + math.log2(unseen)
        self._alone: dict[str, float] = {}  # of letters met by `bits_of_all`: pricing each anew takes ten times as long

    def bits(self, word: str) -> float:
        """Return the bits that spell the word and its end."""
        letters = math.fsum(self._bits.get(character, self._unseen_bits) for character in word)
        return letters + self._bits.get(END, self._unseen_bits)

    def bits_of_all(self, letters: Sequence[str], words: int) -> float:
        """Return the bits that spell so many words and their ends; `letters` are those of all of them, in any order."""
        end = self.bits(END)
        for letter in set(letters).difference(self._alone):
            self._alone[letter] = self.bits(letter) - end
        return math.fsum(map(self._alone.__getitem__, letters)) + words * end
