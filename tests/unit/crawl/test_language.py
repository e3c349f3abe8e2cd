"""Language identification on the Universal Declaration's first article, and the codes of both detectors."""

from __future__ import annotations

import pycld2
import pytest

from ulmfit_dist.crawl import language as language_module
from ulmfit_dist.crawl.language import (
    Language,
    LanguageDetector,
    ModelDetector,
    StrictDetector,
    is_written_so,
    iso_code,
    language_share,
)
from ulmfit_dist.errors import InputError

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


def test_the_share_of_lines_in_a_language():
    assert language_share("\n".join([TEXTS["en"]] * 5), "en") == 1.0
    mixed = "\n".join([TEXTS["en"], TEXTS["de"]] * 5)
    share = len(TEXTS["de"]) / (len(TEXTS["en"]) + len(TEXTS["de"]))
    assert language_share(mixed, "de") == pytest.approx(share, abs=1e-3)
    assert language_share("12\n34\nshort", "en") == 1.0
    assert language_share("\n".join([TEXTS["de"]] * 900 + [TEXTS["en"]] * 100), "de") == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("code", TEXTS)
def test_texts_are_written_in_scripts_of_their_languages(code):
    assert is_written_so(code, TEXTS[code])
    assert not is_written_so(code, "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ " * 9)
    assert is_written_so("chr", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ " * 9)


@pytest.mark.parametrize(("text", "code"), [("cu rațiune și conștiință", "ro"), ("Sklaverei und Sklavenhandel", "und")])
def test_of_a_short_text_a_guess_counts_where_it_is_likely(detector, text, code):
    assert pycld2.detect(text, isPlainText=True)[2][0][1] == "un"
    assert detector.detect(text).code == code


def test_of_a_long_text_no_guess_counts(detector, monkeypatch):
    monkeypatch.setattr(language_module, "_cld2", lambda _, guess=False: "de" if guess else "und")
    assert detector.detect("Alle Menschen sind frei geboren.").code == "de"
    assert detector.detect(TEXTS["de"]).code == "und"


def test_for_languages_asked_for_one_detector_is_enough(monkeypatch):
    monkeypatch.setattr(language_module, "_cld2", lambda sample: "nl")
    assert LanguageDetector().detect(TEXTS["de"]).code == "und"
    assert LanguageDetector(["de"]).detect(TEXTS["de"]).code == "de"
    assert LanguageDetector(["fr"]).detect(TEXTS["de"]).code == "und"


class FakeModel:
    """What the package fasttext gives: labels of lid.176 and GlotLID, an error for a line end in the text."""

    class f:  # noqa: N801
        @staticmethod
        def predict(text, *_):
            assert text.index("\n") == len(text) - 1
            return [(1.00001, "__label__deu_Latn")] if "Menschen" in text else [(0.3, "__label__en")]


def test_a_fasttext_model_stands_for_both(monkeypatch, tmp_path):
    class Package:
        @staticmethod
        def load_model(path):
            if not path.endswith(".ftz"):
                raise ValueError(path)
            return FakeModel

    monkeypatch.setattr(language_module.importlib, "import_module", lambda name: Package)
    detector = ModelDetector(tmp_path / "m.ftz", 0.65)
    assert detector.detect(TEXTS["de"] + "\nund noch mehr") == ("de", 1.0)
    assert detector.detect(TEXTS["en"]) == ("und", 0.3)
    assert detector.detect("kurz") == ("und", 0.0)
    with pytest.raises(InputError, match="no language model"):
        ModelDetector(tmp_path / "m.txt", 0.65)


def test_strict_takes_what_two_detectors_say():
    class Says:
        def __init__(self, code: str, score: float) -> None:
            self._language = Language(code, score)

        def detect(self, text: str) -> Language:
            return self._language

    assert StrictDetector(Says("de", 0.9), Says("de", 0.4)).detect("x") == ("de", 0.9)
    assert StrictDetector(Says("de", 0.9), Says("en", 1.0)).detect("x") == ("und", 0.9)
    assert StrictDetector(Says("de", 0.9), Says("und", 1.0)).detect("x") == ("und", 0.9)
    assert StrictDetector(Says("und", 0.2), Says("de", 1.0)).detect("x") == ("und", 0.2)


def test_without_the_package_it_is_said(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(language_module.importlib, "import_module", missing)
    with pytest.raises(InputError, match="fasttext is not installed.*pip install"):
        ModelDetector(tmp_path / "m.ftz", 0.65)
