"""Scripts of a text: which one it is mostly in, and whether that one puts spaces between words."""

from __future__ import annotations

import numpy as np

# First code points of Unicode's ranges of letters and the script of each, ISO 15924; what no script owns is "".
_RANGES = (
    (0x0000, ""), (0x0041, "Latn"), (0x005B, ""), (0x0061, "Latn"), (0x007B, ""), (0x00C0, "Latn"), (0x02B0, ""),
    (0x0370, "Grek"), (0x0400, "Cyrl"), (0x0530, "Armn"), (0x0590, "Hebr"), (0x0600, "Arab"), (0x0700, "Syrc"),
    (0x0750, "Arab"), (0x0780, "Thaa"), (0x07C0, "Nkoo"), (0x0800, ""), (0x0870, "Arab"), (0x0900, "Deva"),
    (0x0980, "Beng"), (0x0A00, "Guru"), (0x0A80, "Gujr"), (0x0B00, "Orya"), (0x0B80, "Taml"), (0x0C00, "Telu"),
    (0x0C80, "Knda"), (0x0D00, "Mlym"), (0x0D80, "Sinh"), (0x0E00, "Thai"), (0x0E80, "Laoo"), (0x0F00, "Tibt"),
    (0x1000, "Mymr"), (0x10A0, "Geor"), (0x1100, "Hang"), (0x1200, "Ethi"), (0x13A0, "Cher"), (0x1400, "Cans"),
    (0x1680, ""), (0x1780, "Khmr"), (0x1800, "Mong"), (0x18B0, ""), (0x19E0, "Khmr"), (0x1A00, ""), (0x1C80, "Cyrl"),
    (0x1C90, "Geor"), (0x1CC0, ""), (0x1D00, "Latn"), (0x1F00, "Grek"), (0x2000, ""), (0x2D00, "Geor"),
    (0x2D30, "Tfng"), (0x2D80, "Ethi"), (0x2DE0, "Cyrl"), (0x2E00, ""), (0x3041, "Kana"), (0x3100, "Hani"),
    (0x3130, "Hang"), (0x3190, ""), (0x31F0, "Kana"), (0x3200, ""), (0x3400, "Hani"), (0xA000, "Yiii"), (0xA4D0, ""),
    (0xA640, "Cyrl"), (0xA6A0, ""), (0xA720, "Latn"), (0xA800, ""), (0xA8E0, "Deva"), (0xA900, ""), (0xA960, "Hang"),
    (0xA980, ""), (0xA9E0, "Mymr"), (0xAA00, ""), (0xAA60, "Mymr"), (0xAA80, ""), (0xAB00, "Ethi"), (0xAB30, "Latn"),
    (0xAB70, "Cher"), (0xABC0, ""), (0xAC00, "Hang"), (0xD800, ""), (0xF900, "Hani"), (0xFB00, "Latn"),
    (0xFB13, "Armn"), (0xFB1D, "Hebr"), (0xFB50, "Arab"), (0xFE00, ""), (0xFE70, "Arab"), (0xFEFF, ""),
    (0xFF21, "Latn"), (0xFF3B, ""), (0xFF41, "Latn"), (0xFF5B, ""), (0xFF66, "Kana"), (0xFFA0, "Hang"), (0xFFDD, ""),
    (0x20000, "Hani"), (0x32000, ""),
)  # fmt: skip
_STARTS = np.array([start for start, _ in _RANGES], np.uint32)
_NAMES = sorted({name for _, name in _RANGES})
_OF_RANGE = np.array([_NAMES.index(name) for _, name in _RANGES], np.uint8)
# Every text is mostly in the first plane: a table of its scripts is a look-up, five times faster than a search.
_PLANE = _OF_RANGE[np.searchsorted(_STARTS, np.arange(1 << 16, dtype=np.uint32), side="right") - 1]
UNSPACED = frozenset({"Hani", "Kana", "Thai", "Laoo", "Tibt", "Mymr", "Khmr", "Yiii"})
_IS_UNSPACED = np.array([name in UNSPACED for name in _NAMES])
_SAMPLE = 20_000


def code_points(text: str) -> np.ndarray:
    """Return the code points of a text, uint32; lone surrogates stand for themselves."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def script_counts(text: str) -> dict[str, int]:
    """Return how many characters of each script (ISO 15924) stand in the first 20,000; han and kana apart."""
    counts = _counts(text)
    return {name: int(count) for name, count in zip(_NAMES, counts, strict=True) if name and count}


def is_unspaced(text: str) -> bool:
    """Whether most letters of a text are of scripts that put no spaces between words: a character is a word there."""
    counts = _counts(text)
    letters = int(counts.sum() - counts[0])
    return 2 * int(counts[_IS_UNSPACED].sum()) > letters


def _counts(text: str) -> np.ndarray:
    points = code_points(text[:_SAMPLE])
    scripts = _PLANE[np.minimum(points, 0xFFFF)]
    if len(beyond := points[points > 0xFFFF]):
        scripts = scripts.copy()
        scripts[points > 0xFFFF] = _OF_RANGE[np.searchsorted(_STARTS, beyond, side="right") - 1]
    return np.bincount(scripts, minlength=len(_NAMES))
