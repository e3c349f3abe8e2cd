"""A language's folder from a sample: what it holds is what the sample and the reference implementations say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sentencepiece
import spacy

from ulmfit_dist.crawl.newlanguage import new_language
from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.recipe import load_recipe
from ulmfit_dist.tokenization.word import WordSplitter

UDHR = Path(__file__).resolve().parents[2] / "data" / "udhr"
# Invented for this test: ten words in an order that changes, each sentence ended by the Armenian full stop.
ARMENIAN = ["մեկ", "երկու", "երեք", "չորս", "հինգ", "վեց", "յոթ", "ութ", "ինը", "տասը"]
HAN = [chr(0x4E00 + place) for place in range(2000)]


def cases(folder):
    return [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]


def check_golden(folder):
    for case in cases(folder):
        recipe = load_recipe(str(folder / f"{case['recipe']}.toml"))
        if case["recipe"] == "word_60k":
            assert WordSplitter(recipe).tokens(case["text"]) == case["tokens"]
        else:
            normalizer = sentencepiece.SentencePieceNormalizer(rule_name=recipe.normalization)
            assert normalizer.normalize(case["text"]).replace("\u2581", " ").removeprefix(" ") == case["normalised"]
            assert case["text"] != case["normalised"]


def test_a_language_that_spacy_has_rules_for(tmp_path):
    found = new_language("tr", [UDHR / "tr.txt"], tmp_path, "public domain")
    text = (UDHR / "tr.txt").read_text(encoding="utf-8")
    assert (found.script, found.word, found.ends[0], found.remarks) == ("Latn", "tr", ".", ())
    assert found.letters == len({letter for letter in text if letter.isalpha()})
    assert (found.character_coverage, found.byte_fallback) == (0.99999, False)
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "NOTICE",
        "golden.jsonl",
        "sp_30k.toml",
        "word_60k.toml",
    ]
    shipped = [load_recipe(f"tr/{name}") for name in ("word_60k", "sp_30k")]
    assert [load_recipe(str(found.folder / f"{name}.toml")) for name in ("word_60k", "sp_30k")] == shipped
    check_golden(found.folder)
    assert len({case["text"] for case in cases(found.folder)}) == 5
    words = [case["text"] for case in cases(found.folder) if case["recipe"] == "word_60k"]
    assert all(one in " ".join(text.split()) for one in words)
    notice = (found.folder / "NOTICE").read_text(encoding="utf-8")
    assert "tr.txt" in notice
    assert "public domain" in notice


def test_a_language_without_rules_gets_those_of_none_and_a_remark_where_its_full_stop_stays(tmp_path):
    lines = [" ".join(ARMENIAN[turn:] + ARMENIAN[:turn]).capitalize() + "։" for turn in range(10)] * 6
    with_number = tmp_path / "with_stops.txt"
    with_number.write_text("\n".join(f"{place} {line}" for place, line in enumerate(lines)) + "\n")
    # hyw is Western Armenian, which spaCy does not know.
    found = new_language("hyw", [with_number], tmp_path, "CC0")
    assert (found.script, found.word, found.ends) == ("Armn", "xx", ("։",))
    blank = spacy.blank("xx")
    stays = [token.text for token in blank(f"{lines[0]}")][-1] != "։"
    assert stays
    assert "'։' stays on the last word in 100 %" in found.remarks[0]
    check_golden(found.folder)


def test_a_script_without_blanks_gets_pieces_alone_and_many_letters_bytes(tmp_path):
    lines = ["".join(HAN[place * 40 : place * 40 + 40]) + "。" for place in range(50)]
    (tmp_path / "sample.txt").write_text("\n".join(lines))
    found = new_language("wuu", [tmp_path / "sample.txt"], tmp_path, "CC0")
    assert (found.script, found.word, found.ends, found.letters) == ("Hani", "", ("。",), 2000)
    assert (found.character_coverage, found.byte_fallback) == (0.9995, True)
    assert not (found.folder / "word_60k.toml").exists()
    assert {case["recipe"] for case in cases(found.folder)} == {"sp_30k"}
    check_golden(found.folder)


def test_the_same_sample_gives_the_same_bytes_and_the_seed_of_hashes_no_say(tmp_path):
    for name in ("a", "b"):
        new_language("de", [UDHR / "de.txt"], tmp_path / name, "public domain")
    for path in (tmp_path / "a" / "de").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "de" / path.name).read_bytes()


def test_several_samples_of_any_format(tmp_path):
    text = (UDHR / "fr.txt").read_text(encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text[: len(text) // 2]}) + "\n")
    (tmp_path / "b.txt").write_text(text[len(text) // 2 :])
    found = new_language("fr", [tmp_path / "a.jsonl", tmp_path / "b.txt"], tmp_path / "out", "public domain")
    assert "a.jsonl, b.txt" in (found.folder / "NOTICE").read_text(encoding="utf-8")
    check_golden(found.folder)


@pytest.mark.parametrize(
    ("code", "sample", "words"),
    [
        ("deu", "de.txt", r"not the ISO 639 code.*'deu'.*write de$"),
        ("german", "de.txt", r"not the ISO 639 code.*'german'.*write ISO 639-1"),
        ("de", "none.txt", "no source"),
        ("de", "ru.txt", r"in no script of de; found: 100 % of its letters are Cyrl"),
        ("hi", "en.txt", r"in no script of hi; found: 100 % of its letters are Latn"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, code, sample, words):
    with pytest.raises(InputError, match=words) as caught:
        new_language(code, [UDHR / sample], tmp_path, "public domain")
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_too_little_text_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text("Ein kurzer Satz.\n")
    with pytest.raises(InputError, match="too little text; found: 13 letters"):
        new_language("de", [tmp_path / "short.txt"], tmp_path, "CC0")
    (tmp_path / "long.txt").write_text("abc " * 1000)
    with pytest.raises(InputError, match="too few sentences"):
        new_language("de", [tmp_path / "long.txt"], tmp_path, "CC0")


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "de").mkdir()
    with pytest.raises(InputError, match="is there already"):
        new_language("de", [UDHR / "de.txt"], tmp_path, "public domain")
    assert list((tmp_path / "de").iterdir()) == []
