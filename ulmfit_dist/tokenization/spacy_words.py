"""spaCy's rule tokenizer of a language: whole texts, many chunks in one call, and with its special cases off."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

# spaCy keeps the cuts of the first 10,000 chunks only, and never drops one: a larger cache is 1.2-1.3 times as fast.
_CACHED_CHUNKS = 10**7
# Cache and string store only grow, by 600 bytes a new string (measured), so a long-lived worker starts anew (0.1 s).
_MAX_STRINGS = 1_000_000
# One call for many chunks costs 20 us a chunk, a call for each 38 us; more than some thousand a call gain nothing.
_CHUNKS_A_CALL = 4000
_AFFIXES = ("prefix_search", "suffix_search", "infix_finditer", "token_match", "url_match")


class SpacyWords:
    """The tokens that spaCy's blank pipeline of a language cuts, as strings. Not for the languages it segments."""

    def __init__(self, language: str, whole: Sequence[str] = ()) -> None:
        """Take `whole` as further special cases, strings that stay one token."""
        self._language, self._whole = language, tuple(whole)
        self._start()

    def words(self, text: str) -> list[str]:
        """Return the tokens of a text, white-space tokens among them."""
        words = [token.text for token in self._tokenizer(text)]
        self._stay_small()
        return words

    def words_of_each(self, chunks: Sequence[str], special_cases: bool = True) -> list[list[str]]:
        r"""Return the tokens of each chunk as if it were a text of its own.

        Chunks hold no white space but single blanks inside, and are not empty. They go to spaCy joined by new lines (or
        what else is white space and stands in no special case beside text: Malay has `M\n`): a new line is a token of
        its own, so nothing reaches from a chunk into the next.
        """
        out: list[list[str]] = []
        for start in range(0, len(chunks), _CHUNKS_A_CALL):
            out += self._words_of_each(chunks[start : start + _CHUNKS_A_CALL], special_cases)
            self._stay_small()
        return out

    @property
    def special_cases(self) -> dict[str, list[str]]:
        """The strings with a cut of their own, and that cut."""
        from spacy.attrs import ORTH

        return {text: [token[ORTH] for token in tokens] for text, tokens in self._tokenizer.rules.items()}

    def reach_over_tokens(self, text: str) -> bool:
        """Whether spaCy looks for this special case in the finished tokens too, where a match may hold blanks."""
        cutter = self._tokenizer
        searched = cutter.find_prefix(text) or cutter.find_infix(text) or cutter.find_suffix(text) or " " in text
        return bool(not cutter.faster_heuristics or searched)

    @property
    def spaced_cases(self) -> list[str]:
        """Special cases with white space beside text that is no single blank inside."""
        cases = [text for text in self._tokenizer.rules if not text.isspace()]
        return [text for text in cases if " ".join(text.split()) != text]

    def patterns(self) -> dict[str, re.Pattern[str] | None]:
        """The patterns of prefixes, suffixes, infixes and whole tokens, None where the language has none."""
        return {name: getattr(getattr(self._tokenizer, name), "__self__", None) for name in _AFFIXES}

    @property
    def made_with(self) -> str:
        """The package and its version."""
        return f"spacy=={metadata.version('spacy')}"

    def identity(self) -> dict[str, Any]:
        """Return what steers spaCy's cuts, as JSON values: it may change with spaCy's version."""
        return {
            "patterns": {name: pattern and pattern.pattern for name, pattern in self.patterns().items()},
            "special_cases": self.special_cases,
        }

    def _words_of_each(self, chunks: Sequence[str], special_cases: bool) -> list[list[str]]:
        from spacy.attrs import ORTH

        cutter = self._tokenizer if special_cases else self._bare
        strings = cutter.vocab.strings
        hashes = cutter(self._separator.join(chunks)).to_array([ORTH])
        ends = np.flatnonzero(hashes == np.uint64(strings[self._separator])).tolist()
        assert len(ends) == len(chunks) - 1, "a chunk holds white space"
        # Reading the hashes and naming each string once is 2-11 % cheaper than the text of every token.
        named = self._named
        words = [named.get(key) or named.setdefault(key, strings[key]) for key in hashes.tolist()]
        return [words[begin + 1 : end] for begin, end in zip([-1, *ends], [*ends, len(words)], strict=True)]

    def _stay_small(self) -> None:
        if len(self._tokenizer.vocab.strings) > _MAX_STRINGS:
            self._start()

    def _start(self) -> None:
        import spacy  # 1-3 s, which subword tokenizers do without
        from spacy.attrs import ORTH
        from spacy.tokenizer import Tokenizer

        tokenizer: Any = spacy.blank(self._language).tokenizer
        for text in self._whole:
            tokenizer.add_special_case(text, [{ORTH: text}])
        tokenizer.max_cache_size = _CACHED_CHUNKS
        # Shape, prefix, likeness to a number ... of each new word take a third of the time and nobody reads them.
        tokenizer.vocab.lex_attr_getters = {}
        affixes = {name: getattr(tokenizer, name) for name in _AFFIXES}
        self._tokenizer: Any = tokenizer
        self._bare: Any = Tokenizer(tokenizer.vocab, rules={}, **affixes)
        self._named: dict[int, str] = {}
        in_text = {letter for text in tokenizer.rules for letter in text if not text.isspace()}
        self._separator = next(letter for letter in "\n\t\r\v\f" if letter not in in_text)
