"""Each rule of ulmfit-1 against hand-written cases: what the ancestors (fast.ai 0.7, v1, v2) did and it mends.

And what every rule set has to be: total, linear, and a list of sentences.
"""

from __future__ import annotations

import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.errors import RecipeError
from ulmfit_dist.tokenization import rules
from ulmfit_dist.tokenization.special import SPECIALS


def squeeze(text: str) -> str:
    return re.sub(" +", " ", text)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("AT&amp;T", "AT&T"),  # 0.7 gave AT&&T
        ("it&#39;s", "it's"),  # 0.7 gave it&'s
        ("it&#x27;s", "it's"),
        ("&quot;hi&quot;", '"hi"'),  # 0.7 gave &'hi&'
        ("swamp; a", "swamp; a"),  # 0.7 gave sw& a
        ("caf&eacute; &Delta; &nbsp;", "café Δ \xa0"),
        ("&amp;lt;", "&lt;"),  # once, not to the end
        ("R&D &notanentity; ?a=1&copy=2 &", "R&D &notanentity; ?a=1&copy=2 &"),
        ("&#99999999999999999999999999;", "&#99999999999999999999999999;"),
        ("&#x110000;&#xD800;", "\ufffd\ufffd"),
    ],
)
def test_unescape_html(raw, expected):
    assert rules.UNESCAPE_HTML(raw) == expected


@pytest.mark.parametrize("tag", ["<br />", "<br/>", "<br>", "<BR />", "<br   />"])
def test_break_lines(tag):
    assert rules.BREAK_LINES(f"a{tag}b<brr>") == "a\nb<brr>"


def test_an_escaped_break_is_letters():
    assert rules.ULMFIT_1.before("a &lt;br /&gt; b") == "a <br /> b"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a\nb", "a xxnl b"),
        ("a\r\n\r\n \t\nb", "a xxnl b"),
        ("a\u2028b\fc", "a xxnl b xxnl c"),
        ("a \t b\xa0c\u3000d", "a b c d"),
        ("a\x85b", "a b"),  # the ellipsis of Windows-1252, read as Latin-1
        ("\n\n a b \n", " a b "),  # at the ends a new line says nothing
        ("", ""),
    ],
)
def test_mark_new_lines(raw, expected):
    assert rules.MARK_NEW_LINES(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("wow!!!!", "wow xxrep 4 ! "),
        ("wow!!!", "wow!!!"),  # v2 took three
        ("1000", "1000"),
        ("10000", "1 xxrep 4 0 "),
        ("-" * 30, " xxrep 30 - "),
        ("ээээээх", " xxrep 6 э х"),
        ("好好好好", " xxrep 4 好 "),
        ("हाााााँ", "ह xxrep 5 ा ँ"),
        ("a    b", "a    b"),  # blanks are no characters
        ("aAaA", "aAaA"),
    ],
)
def test_count_character_repeats(raw, expected):
    assert rules.COUNT_CHARACTER_REPEATS(raw) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("no no no", "xxwrep 3 no"),
        ("no no", "no no"),
        ("no no no no", "xxwrep 4 no"),  # 0.7 and v1 missed it at the end of a text
        ("No no NO no no", "xxwrep 5 No"),  # 0.7 lost the first
        ("a no no no b b b", "a xxwrep 3 no xxwrep 3 b"),
        ("нет нет Нет", "xxwrep 3 нет"),
        ("बहुत बहुत बहुत", "xxwrep 3 बहुत"),
        ("- - - - . . .", "- - - - . . ."),  # a table, not words
        ("xxrep 4 4 4 4 x", "xxrep 4 4 4 4 x"),  # the count and the character are not words
        ("xxrep 4 4 4 4 4", "xxrep 4 4 xxwrep 3 4"),
        ("no xxnl no xxnl no", "no xxnl no xxnl no"),
        ("", ""),
    ],
)
def test_count_word_repeats(words, expected):
    assert rules.COUNT_WORD_REPEATS(words.split()) == expected.split()


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("Hello", "xxmaj hello"),
        ("HELLO", "xxup hello"),
        ("I", "i"),
        ("a", "a"),
        ("Été", "xxmaj été"),  # v2 marked ASCII only
        ("ÉTÉ", "xxup été"),
        ("Привет", "xxmaj привет"),
        ("МИР", "xxup мир"),
        ("ΟΔΟΣ", "xxup οδος"),
        ("Ǆ", "ǆ"),
        ("ǅungla", "xxmaj ǆungla"),
        ("U.S.", "xxup u.s."),
        ("L'", "xxmaj l'"),  # one capital is no word in capitals
        ("STRAßE", "straße"),
        ("iPhone", "iphone"),
        ("McDonald", "mcdonald"),
        ("١٩٩٩", "١٩٩٩"),
        ("हिन्दी", "हिन्दी"),
        ("漢字", "漢字"),
        ("xxrep", "xxrep"),
    ],
)
def test_mark_capitals(token, expected):
    assert rules.MARK_CAPITALS([token]) == expected.split()


@pytest.mark.parametrize("special", SPECIALS)
@pytest.mark.parametrize("write", [str, str.upper, str.title, lambda s: f"a{s}b", lambda s: f"&#{ord(s[0])};{s[1:]}"])
def test_a_special_token_in_the_text_is_text(special, write):
    rewritten = rules.ULMFIT_1.before(f"so {write(special)} so")
    assert special not in rewritten.lower()
    assert rewritten.replace(" ", "").lower() in (f"so{special}so", f"soa{special}bso")


def test_a_letter_that_only_becomes_ascii_in_lower_case_makes_no_special_token():
    kelvin = "xxun\u212a"
    assert kelvin.lower() == "xxunk"
    assert rules.ULMFIT_1.before(kelvin) == "xx un\u212a"


@given(
    st.lists(
        st.sampled_from(["xx", "x", "bos", "NL", "\n", " ", "<br>", "&#120;", "&nbsp;", "!!!!", "rep", "a"]),
        max_size=12,
    )
)
def test_no_text_makes_a_marker_that_it_should_not(parts):
    text = "".join(parts)
    rewritten = rules.ULMFIT_1.before(text)
    found = [word for word in rewritten.lower().split() if word in SPECIALS]
    assert set(found) <= {"xxnl", "xxrep"}
    assert rewritten == squeeze(rewritten).strip()
    assert len(re.findall(r"(?i)xx(?:unk|pad|bos|eos|fld|maj|up|w?rep|nl)", rewritten)) == len(found)


@given(st.text())
def test_text_rules_leave_single_blanks_only(text):
    assert not re.search(r"\s\s|[^\S ]|^\s|\s$", rules.ULMFIT_1.before(text))


# A pattern that tries every start of a long run again takes hours here; all of them together take two seconds.
HOSTILE = (
    " ",
    "\n ",
    "&",
    "&a",
    "&#",
    "&#9",
    "x",
    "<br ",
    "< ",
    "a ",
    "no no no nob ",
    "A",
    "AB",
    "Ab",
    "a-",
    "-",
    "É",
)


@pytest.mark.parametrize("rule_set", rules.RULE_SETS.values(), ids=lambda rule_set: rule_set.name)
def test_text_rules_take_time_linear_in_the_text(rule_set):
    started = time.process_time()
    for unit in HOSTILE:
        rule_set.before(rule_set.parts([unit * (500_000 // len(unit)) + "a"])[0].text)
    assert time.process_time() - started < 60


@pytest.mark.parametrize("rule_set", rules.RULE_SETS.values(), ids=lambda rule_set: rule_set.name)
@pytest.mark.parametrize("unit", ["-", "a", "a ", "no ", "no, "])
def test_counting_a_long_repeat_takes_little_memory(rule_set, unit):
    # A pattern that can go back on its repeats keeps 45 to 90 bytes a character; the best gives 20.
    text = rule_set.parts([unit * (500_000 // len(unit))])[0].text
    tracemalloc.start()
    rule_set.before(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * len(text)


@pytest.mark.parametrize("rule_set", rules.RULE_SETS.values(), ids=lambda rule_set: rule_set.name)
@given(st.text(st.characters(codec=None)) | st.text("aA1&#;\n\r\x00\x85 \u202e\ud800\\<br/>xnoÉ.", max_size=40))
def test_rules_take_any_text_and_any_tokens(rule_set, text):
    for part in rule_set.parts([text, text]):
        assert isinstance(rule_set.before(part.text), str)
    tokens = rule_set.after([token for token in re.split("( )", text) if token])
    assert all(isinstance(token, str) and token for token in tokens)


def test_every_rule_is_a_sentence():
    for rule_set in rules.RULE_SETS.values():
        for rule in (*rule_set.text_rules, *rule_set.token_rules):
            assert rule.sentence.endswith(".")


def test_the_fields_of_a_document():
    assert rules.ULMFIT_1.parts(["a"]) == [(("xxbos",), "a")]
    assert rules.ULMFIT_1.parts(["a", ""]) == [(("xxbos", "xxfld", "1"), "a"), (("xxfld", "2"), "")]


def test_every_rule_set_has_a_name_and_its_unknown_and_padding_tokens_first():
    assert [rule_set.name for rule_set in rules.RULE_SETS.values()] == list(rules.RULE_SETS)
    assert sorted(rules.RULE_SETS) == ["fastai-0.7", "fastai-1", "fastai-2", "ulmfit-1"]
    for rule_set in rules.RULE_SETS.values():
        assert [token.strip("x_") for token in rule_set.specials[:2]] == ["unk", "pad"]
    assert rules.ULMFIT_1.specials == SPECIALS


def test_an_unknown_rule_set_names_the_known():
    with pytest.raises(RecipeError, match="ulmfit-1"):
        rules.rule_set("ulmfit-9")
