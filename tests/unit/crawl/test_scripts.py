"""Scripts: what Unicode calls a letter of a script is one here, and texts without spaces are known."""

from __future__ import annotations

import unicodedata

import pytest

from ulmfit_dist.crawl.scripts import code_points, is_unspaced, script_counts

NAMES = {
    "LATIN": "Latn", "GREEK": "Grek", "CYRILLIC": "Cyrl", "ARMENIAN": "Armn", "HEBREW": "Hebr", "ARABIC": "Arab",
    "DEVANAGARI": "Deva", "BENGALI": "Beng", "GURMUKHI": "Guru", "GUJARATI": "Gujr", "ORIYA": "Orya", "TAMIL": "Taml",
    "TELUGU": "Telu", "KANNADA": "Knda", "MALAYALAM": "Mlym", "SINHALA": "Sinh", "THAI": "Thai", "LAO": "Laoo",
    "TIBETAN": "Tibt", "MYANMAR": "Mymr", "GEORGIAN": "Geor", "HANGUL": "Hang", "ETHIOPIC": "Ethi", "KHMER": "Khmr",
    "MONGOLIAN": "Mong", "HIRAGANA": "Kana", "KATAKANA": "Kana", "CJK": "Hani", "CHEROKEE": "Cher", "YI": "Yiii",
}  # fmt: skip
CODES = (
    range(0x250),
    range(0x370, 0x1D00),
    range(0x1E00, 0x1FFF),
    range(0x3040, 0xD7A4, 7),
    range(0x20000, 0x2A000, 101),
)


def test_letters_are_of_the_script_that_unicode_names():
    wrong = {}
    for code in [
        *range(0x250),
        *range(0x370, 0x1D00),
        *range(0x1E00, 0x1FFF),
        *range(0x3040, 0xD7A4, 7),
        *range(0x20000, 0x2A000, 101),
    ]:
        character = chr(code)
        name = unicodedata.name(character, "").split(" ")[0].split("-")[0]
        if unicodedata.category(character) in ("Ll", "Lu", "Lo") and name in NAMES:
            found = script_counts(character)
            if found != {NAMES[name]: 1}:
                wrong[hex(code)] = (unicodedata.name(character), found)
    assert not wrong


@pytest.mark.parametrize(
    ("text", "unspaced"),
    [
        ("The quick brown fox", False),
        ("これは日本語の文章です。Web", True),
        ("这是一个中文句子", True),
        ("ประเทศไทย", True),
        ("한국어 문장은 띄어 쓴다", False),
        ("Windows 版本 is here for all of you", False),
        ("𠀀𠀁𠀂", True),
        ("1234 !?", False),
        ("", False),
    ],
)
def test_scripts_without_spaces(text, unspaced):
    assert is_unspaced(text) is unspaced


def test_a_lone_surrogate_is_no_error():
    assert code_points("a\ud800").tolist() == [97, 0xD800]
