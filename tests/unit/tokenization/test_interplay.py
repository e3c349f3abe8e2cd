"""Which chunks are cut together: hand cases, and the runs that links make."""

from __future__ import annotations

import numpy as np
import pytest

from ulmfit_dist.tokenization.interplay import ENDS, STARTS, TOUCHY, Interplay, linked_runs
from ulmfit_dist.tokenization.spacy_words import SpacyWords

BOTH = ENDS | STARTS
EN, RU = SpacyWords("en"), SpacyWords("ru")
INTERPLAY = {"en": Interplay(EN), "ru": Interplay(RU)}


def flags(language, chunk):
    words = {"en": EN, "ru": RU}[language]
    return INTERPLAY[language].flags(chunk, words.words(chunk))


@pytest.mark.parametrize(
    ("language", "chunk", "expected"),
    [
        ("en", "house", 0),
        ("en", "Elvis'", ENDS),  # ' begins '' and others
        ("en", "''Love", BOTH | TOUCHY),  # '' is a case, and ' alone would be the end of one
        ("ru", "в", ENDS | TOUCHY),  # begins "в т.ч.", a case with a blank
        ("ru", "дом", 0),
    ],
)
def test_flags_by_hand(language, chunk, expected):
    assert flags(language, chunk) & expected == expected
    assert expected or flags(language, chunk) == 0


def test_the_second_part_of_a_spaced_case_starts_a_later_part():
    assert flags("ru", "т.ч.") & STARTS


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([ENDS | TOUCHY], []),
        ([ENDS | TOUCHY, STARTS], [(0, 2)]),
        ([ENDS, STARTS], []),  # nothing at stake
        ([ENDS, STARTS | TOUCHY, STARTS], [(0, 2)]),  # the second does not end with a beginning
        ([ENDS, BOTH | TOUCHY, BOTH, STARTS, 0, ENDS], [(0, 4)]),
        ([ENDS, BOTH, BOTH, STARTS | TOUCHY], [(0, 4)]),
        ([ENDS | TOUCHY, STARTS, 0, ENDS, STARTS | TOUCHY], [(0, 2), (3, 5)]),
        ([STARTS | TOUCHY, ENDS | TOUCHY], []),
    ],
)
def test_linked_runs_by_hand(values, expected):
    assert linked_runs(np.array(values, np.uint8)) == expected
