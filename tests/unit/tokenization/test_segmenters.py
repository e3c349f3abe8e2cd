"""Words by a segmenter: what it sees, what it never sees, and the memo that gives the same."""

from __future__ import annotations

import re

import pytest

from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization import segmenters
from ulmfit_dist.tokenization.memo import ChunkMemo
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.segmenters import SEGMENTERS, SegmentedWords, missing_packages
from ulmfit_dist.tokenization.tokenizer import load_tokenizer
from ulmfit_dist.tokenization.vocabulary import WordCounts, build_vocabulary
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

TEXTS = {
    "th": "ประเทศไทยมี 66,000,000 คน ในปี ๒๕๖๓ COVID-19 ระบาด\nร้าน Coffee's อร่อยมากๆๆๆๆ!!!! xxbos (เก่า) เก่า เก่า เก่า",
    "ja": "私は東京大学で ABC-123 を学びました。\n\nすごーーーーい！ 「はい」と言った。ﾊﾟｿｺﾝ 3.5 円 人々",
    "km": "ព្រះរាជាណាចក្រកម្ពុជាមាន ១៧,០០០,០០០ នាក់។ ABC-123 ភាសាខ្មែរៗ!!!!\nថ្ងៃ ថ្ងៃ ថ្ងៃ",
    "ko": "대한민국의 수도는 서울이며, ABC-123 인구는 9,386,034명이다.\n\n정말 ㅋㅋㅋㅋㅋ 네 네 네",
    "lo": "ປະເທດລາວມີປະຊາກອນ 7,000,000 ຄົນ ABC-123\nຊ້າໆໆໆໆ!!!! ດີ ດີ ດີ",
    "yue": "我哋今日去咗 ABC-123 香港大學，聽教授講嘢。\r\n好食！！！！ 3.5 蚊 好 好 好",
    "zh": "我们一致认为，这项决定符合 Apple 公司的利益。\r\n价格是3.5元。 很便宜！！！！ 对 对 对",
}
CHAPTERS = {"th": "ก", "ja": "あ", "km": "ក", "ko": "가", "lo": "ກ", "yue": "我", "zh": "我"}


@pytest.fixture(params=sorted(SEGMENTERS))
def language(request):
    if missing_packages(request.param):
        pytest.skip(missing_packages(request.param))
    return request.param


@pytest.fixture
def pairs(monkeypatch):
    """A segmenter of Thai that cuts after every second letter, and what it was shown."""
    seen = []

    def cut(text):
        seen.append(text)
        return re.findall("..?", text)

    monkeypatch.setattr(segmenters, "_loaded", lambda _: cut)
    monkeypatch.setattr(segmenters, "missing_packages", lambda _: "")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: "there")
    monkeypatch.setattr(SegmentedWords, "made_with", "pairs==1")
    return seen


def test_the_segmenter_sees_the_languages_own_letters_alone(pairs):
    words = SegmentedWords("th").words("กขคABC12:30น.ม.(ง) e-mail don't\n๒๕๖๓ จ_ฉ")
    assert pairs == ["กขค", "น", "ม", "ง", "จ", "ฉ"]
    assert words == [
        *("กข", "ค", "ABC", "12:30", "น", ".", "ม", ".", "(", "ง", ")"),
        *("e-mail", "don't", "๒๕๖๓", "จ", "_", "ฉ"),
    ]


def test_what_nobody_sees_parts_words_and_is_none(pairs):
    splitter = WordSplitter(WordRecipe(language="th"))
    text = "กข\u200bคง \u200b \u2764\ufe0f\U0001f469\u200d\U0001f4bb"
    expected = ["xxbos", "กข", "คง", "\u2764", "\U0001f469", "\U0001f4bb"]
    assert splitter.tokens(text) == expected
    memo = ChunkMemo(splitter)
    assert [memo.tokens[code] for code in memo.encode([text]).codes.tolist()] == expected


def test_a_stretch_without_end_is_cut_before_the_segmenter_sees_it(pairs):
    words = SegmentedWords("th").words("ก" * 4500)
    assert list(map(len, pairs)) == [2000, 2000, 500]
    assert "".join(words) == "ก" * 4500


def test_a_segmenter_that_changes_text_is_noticed(pairs, monkeypatch):
    monkeypatch.setattr(segmenters, "_loaded", lambda _: lambda text: [text[:1]])
    with pytest.raises(AssertionError, match="only cuts"):
        SegmentedWords("th").words("กขค")


def test_the_rules_are_those_of_every_language(pairs):
    tokens = WordSplitter(WordRecipe(language="th")).tokens("กข Word WORD\nคคคค <br /> &amp; กข กข กข")
    assert tokens == [
        *("xxbos", "กข", "xxmaj", "word", "xxup", "word", "xxnl", "xxrep", "4", "ค", "xxnl", "&"),
        *("xxwrep", "3", "กข"),
    ]


def test_the_memo_gives_the_tokens_of_the_reference(pairs):
    splitter = WordSplitter(WordRecipe(language="th"))
    texts = [TEXTS["th"], TEXTS["th"] * 3, "", "กข\x1fคง", " \n "]
    memo = ChunkMemo(splitter)
    for _ in range(2):  # from empty, and warm
        tokens = memo.encode(texts)
        for place, text in enumerate(texts):
            own = tokens.codes[tokens.starts[place] : tokens.starts[place + 1]].tolist()
            assert [memo.tokens[code] for code in own] == splitter.tokens(text)


def test_the_memo_of_sentences_is_small(pairs, monkeypatch):
    monkeypatch.setattr("ulmfit_dist.tokenization.memo._MAX_SENTENCES", 50)
    memo = ChunkMemo(WordSplitter(WordRecipe(language="th")))
    memo.encode([" ".join("กขคงจ"[place % 5] * (place // 5 + 1) for place in range(100))])
    first = memo.tokens
    memo.encode(["ก"])
    assert memo.tokens is not first


def test_a_tokenizer_is_of_the_segmenters_version(pairs, tmp_path, monkeypatch):
    splitter = WordSplitter(WordRecipe(language="th"))
    counts = WordCounts.of({"กข": 9, "คง": 5}, 3, ())
    tokenizer = WordTokenizer(splitter_recipe := WordRecipe(language="th"), build_vocabulary(counts, splitter_recipe))
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint
    monkeypatch.setattr(SegmentedWords, "made_with", "pairs==2")
    with pytest.raises(InputError, match="other ids") as caught:
        load_tokenizer(tmp_path)
    assert "install pairs==1" in caught.value.do
    assert WordSplitter(splitter_recipe).identity != splitter.identity


def test_real_segmenters_cut_and_keep_every_letter(language):
    words = SegmentedWords(language).words(TEXTS[language])
    assert "".join(words) == "".join(TEXTS[language].split())
    assert "ABC-123" not in words
    assert 3 < len(words) < len(TEXTS[language])
    assert re.search(r"==\d", SegmentedWords(language).made_with)


def test_real_segmenters_bear_long_text(language):
    letter = CHAPTERS[language]
    assert "".join(SegmentedWords(language).words(letter * 20_001)) == letter * 20_001


def test_real_memo_gives_the_tokens_of_the_reference(language):
    splitter = WordSplitter(WordRecipe(language=language))
    memo = ChunkMemo(splitter)
    tokens = memo.encode([TEXTS[language]])
    assert [memo.tokens[code] for code in tokens.codes.tolist()] == splitter.tokens(TEXTS[language])


def test_what_is_missing_is_said_as_a_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert missing_packages("ja") == "pip install sudachipy sudachidict-core"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: "there")
    assert missing_packages("ja") == ""
