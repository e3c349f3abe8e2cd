"""The fast walk through py3langid's model against py3langid itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from ulmfit_dist.crawl.langid import Identifier

TEXTS = [
    "", "a", "ab", "\x00", "Alle Menschen sind frei und gleich an Würde und Rechten geboren.", "ALL HUMAN BEINGS",
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。" * 40,
    "Все люди рождаются свободными и равными в своём достоинстве и правах. " * 60,
    "cafe\u0301 naïve " * 300, "\ud800 lone \udfff surrogates", "𐌰𐌻𐌻𐌰𐌹 𐌼𐌰𐌽𐌽𐌰", "ab" * 3000, "\U0010ffff" * 50,
]  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@pytest.fixture(scope="module")
def identifier(model):
    return Identifier(model)


@pytest.mark.parametrize("text", TEXTS)
def test_label_and_probability_are_py3langids(identifier, model, text):
    assert identifier.classify(text) == model.classify(text)


def test_texts_of_any_length_and_script_are_py3langids(identifier, model):
    source = random.Random(7)
    for length in [*range(60), *(source.randrange(60, 6000) for _ in range(60))]:
        low, high = source.choice([(97, 123), (32, 0x250), (0x400, 0x460), (0x900, 0x970), (0x4E00, 0x5000)])
        text = "".join(chr(source.randrange(low, high)) for _ in range(length))
        assert identifier.classify(text) == model.classify(text)


def test_labels(identifier, model):
    assert identifier.labels == model.labels
    assert len(set(identifier.labels)) == len(identifier.labels)


class _Tiny:
    """An automaton that finds "abc" (number 0) and "c" (1), by hand: states are "", a, ab, abc, c; a row for each."""

    nb_classes = ("x", "y")
    nb_pc = np.array([0.0, 0.0], np.float32)
    nb_ptc = np.array([[1.0, 0.0], [0.0, 0.25]], np.float32)
    tk_row = (0, 1, 2, 3, 4)
    tk_output = (-1, -1, -1, 0, 1)

    def __init__(self):
        table = np.zeros((5, 256), np.uint32)
        table[:, ord("a")], table[:, ord("c")] = 1, 4
        table[1, ord("b")], table[2, ord("c")] = 2, 3
        self.tk_nextmove = table.ravel()


@pytest.mark.parametrize("before", range(60))
def test_an_ngram_is_found_wherever_it_stands(before):
    """Across the edges of the stretches that are gone through at a time, too."""
    tiny = Identifier(_Tiny())
    assert tiny.classify("." * before + "abc" + "." * 50)[0] == "x"
    assert tiny.classify("." * before + "abxc" + "." * 50)[0] == "y"
    assert tiny.classify("." * (before + 20)) == ("x", 0.5)
