"""Language identification on the Universal Declaration's first article, and the codes of both detectors."""

from __future__ import annotations

import pycld2
import pytest

from ulmfit_dist.crawl.language import LanguageDetector, iso_code

TEXTS = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft begabt.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison.",
    "ru": "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "fi": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on annettu järki.",
}


@pytest.fixture(scope="module")
def detector():
    return LanguageDetector()


@pytest.mark.parametrize("code", TEXTS)
def test_known_languages(detector, code):
    found = detector.detect(TEXTS[code])
    assert found.code == code
    assert 0.5 < found.score <= 1.0


def test_only_the_middle_of_a_long_text_is_looked_at(detector):
    text = (TEXTS["de"] + " ") * 400 + (TEXTS["en"] + " ") * 60 + (TEXTS["fr"] + " ") * 400
    assert detector.detect(text).code == "en"


@pytest.mark.parametrize("text", ["", "?! 123 456", "Hello there", "." * 5000, "\u200d" * 50])
def test_too_few_letters_are_undetermined(detector, text):
    assert detector.detect(text) == ("und", 0.0)


def test_where_the_detectors_disagree_nothing_is_claimed(detector):
    assert detector.detect("xq zzkw vrrt plonk " * 20).code == "und"


@pytest.mark.parametrize("text", ["a\0" * 50, "\ufffe" * 5 + "letters enough for it " * 3, "\U0010ffff abcdefghij" * 9])
def test_odd_characters_do_not_stop_it(detector, text):
    assert detector.detect(text).code


@pytest.mark.parametrize(
    ("given", "expected"),
    [("eng", "en"), ("EN", "en"), ("en-GB", "en"), ("deu_Latn", "de"), ("ger", "de"), ("iw", "he"), ("jw", "jv"),
     ("zh-Hant", "zh"), ("nb", "no"), ("nn", "nn"), ("ceb", "ceb"), ("fil", "tl"), ("un", "und"), ("xx-Latn", "und"),
     ("zxx", "und"), ("", "und"), ("English", "und")],
)  # fmt: skip
def test_codes(given, expected):
    assert iso_code(given) == expected


def test_both_detectors_speak_the_same_codes(detector):
    """A language that both know must have one code, or they could never agree on it."""
    first = {iso_code(label) for label in detector._langid.labels}
    second = {iso_code(code) for _, code in pycld2.LANGUAGES}
    assert {"en", "he", "id", "jv", "no", "nn", "zh", "tl", "sr", "nso", "und"} <= first & second
    # Where ISO 639-1 has a code, neither gives a longer one.
    assert not {"eng", "deu", "ara", "ary", "arz", "fas", "msa", "swa", "kik", "gug", "sdh"} & (first | second)
