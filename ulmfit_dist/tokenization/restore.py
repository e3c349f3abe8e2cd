"""Tokens read back as text: the marks of a rule set are acted on, words stand between blanks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_MAX_RESTORED = 1000  # a model may write any number after a mark of repeats


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a rule set; "" for one that it does not have. `silent` ones are left out of the text."""

    silent: tuple[str, ...]
    fld: str
    maj: str
    up: str
    rep: str
    wrep: str
    new_line: str = ""
    blank: str = ""

    def restore(self, tokens: list[str]) -> str:
        """Return the text; marks in an order that no text gives (a model's) still read."""
        rest = iter([token for token in tokens if token not in self.silent])
        text = " ".join([word for token in rest if (word := self._read(token, rest))])
        if self.blank:
            text = text.replace(self.blank, " ")
        return "\n".join(line.strip() for line in text.split("\n")).strip()

    def _read(self, token: str, rest: Iterator[str]) -> str:
        """Read one token and what its mark governs."""
        if token == self.new_line:
            return "\n"
        if token == self.fld:
            next(rest, "")
            return "\n"
        if token not in (self.rep, self.wrep):
            return self._read_word(token, rest)
        number = next(rest, "")
        word = self._read_word(next(rest, ""), rest)
        count = min(int(number), _MAX_RESTORED) if number.isdecimal() else 1
        return ("" if token == self.rep else " ").join([word] * count)

    def _read_word(self, token: str, rest: Iterator[str]) -> str:
        if token == self.maj:
            word = next(rest, "")
            return word[:1].upper() + word[1:]
        return next(rest, "").upper() if token == self.up else token
