"""Decoding: strict UTF-8 before claims, claims before guesses, nothing rather than rubbish."""

from __future__ import annotations

import codecs

import pytest

from ulmfit_dist.crawl.decode import decode

KOREAN = "대한민국의 모든 국민은 법 앞에 평등하다. 누구든지 성별, 종교에 의하여 차별을 받지 아니한다."
RUSSIAN = "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью."
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"


def text_of(data: bytes, claim: str | None = None) -> str | None:
    found = decode(data, claim)
    return found.text if found else None


def test_utf8_wins_over_a_wrong_claim():
    assert text_of("naïve café".encode(), "iso-8859-1") == "naïve café"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
     (codecs.BOM_UTF32_LE, "utf-32-le")],
)  # fmt: skip
def test_a_byte_order_mark_says_it_and_is_left_out(mark, encoding):
    assert text_of(mark + RUSSIAN.encode(encoding)) == RUSSIAN


@pytest.mark.parametrize(
    ("text", "encoding", "claim"),
    [
        (RUSSIAN, "cp1251", "windows-1251"),
        (RUSSIAN, "koi8-r", "KOI8-R"),
        (JAPANESE, "cp932", "Shift_JIS"),
        (KOREAN, "euc-kr", "ks_c_5601-1987"),
        ("“smart” € quotes", "cp1252", "ISO-8859-1"),
    ],
)
def test_the_claim_of_http_is_taken(text, encoding, claim):
    assert text_of(text.encode(encoding), claim) == text


@pytest.mark.parametrize(
    ("data", "claim", "codec"),
    [
        (b"plain", "koi8-r", "utf-8"),
        (codecs.BOM_UTF16_LE + "x".encode("utf-16-le"), None, "utf-16-le"),
        ("é".encode("cp1252"), "iso-8859-1", "cp1252"),
        (JAPANESE.encode("cp932"), "Shift_JIS", "cp932"),
        (KOREAN.encode("cp949"), None, "cp949"),
    ],
)
def test_the_codec_is_told(data, claim, codec):
    found = decode(data, claim)
    assert found is not None
    assert found.charset == codec


def test_the_claim_of_the_page_is_taken():
    page = f'<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>{RUSSIAN}'
    assert text_of(page.encode("cp1251")) == page
    page = f"<meta charset='koi8-r'><p>{RUSSIAN}"
    assert text_of(page.encode("koi8-r")) == page


@pytest.mark.parametrize(
    ("text", "encoding"), [(KOREAN, "euc-kr"), (RUSSIAN, "cp1251"), (CHINESE, "gb18030"), (JAPANESE, "euc-jp")]
)
def test_without_a_claim_the_script_is_found(text, encoding):
    long = " ".join([text] * 8)
    assert text_of(long.encode(encoding)) == long


@pytest.mark.parametrize("claim", ["utf-7", "zlib", "rot13", "unicode_escape", "idna", "nonsense", ""])
def test_a_claim_that_the_web_does_not_know_is_no_claim(claim):
    assert decode(("é" * 50).encode("cp1252"), claim) is not None
    assert text_of(b"+AGE-", claim) == "+AGE-"


def test_a_few_broken_bytes_are_replaced_and_many_are_not():
    text = text_of(RUSSIAN.encode() * 5 + b"\xff" + RUSSIAN.encode(), "utf-8")
    assert text is not None
    assert text.count("\ufffd") == 1 or RUSSIAN in text
    assert decode(codecs.BOM_UTF8 + b"\xff\xfe\xfa" * 40) is None
