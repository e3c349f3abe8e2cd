"""Wiki markup: what a reader of the page reads, and no page that takes for ever."""

from __future__ import annotations

import time

import pytest

from ulmfit_dist.corpus.wikitext import strip_markup


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("'''Bern''' is the ''[[capital city|capital]]'' of [[Switzerland]].", "Bern is the capital of Switzerland."),
        ("A{{Infobox|a={{b|c}}|}} b {{{1|x}}}c", "A b c"),
        ("A fact.<ref name=x>Smith {{cite|a}}</ref><ref name='y' /> Next.", "A fact. Next."),
        ("[[File:a.jpg|thumb|A view of [[Bern]]]]Text[[Category:Cities]]", "Text"),
        ("[[Datei:a.jpg|mini]]Text[[Kategorie:Stadt]] [[:Category:X|shown]]", "Text shown"),
        ("[[Star Wars: A New Hope]] and [[wikt:word|a word]]", "Star Wars: A New Hope and a word"),
        ("a\n{| class=x\n|-\n| cell || {{t}}\n{|\n| inner\n|}\n|}\nb", "a\n\nb"),
        ("== History ==\n* one\n## two\n: three\n----\nend", "History\none\ntwo\nthree\n\nend"),
        ("See [http://x.org the site] and [https://y.org].", "See the site and ."),
        ("a<!-- b [[ --> c<br />d &amp; &nbsp;e<small>f</small>", "a c\nd & \xa0ef"),
        ("x <math>a < b</math> y <nowiki>z</nowiki> __NOTOC__", "x  y z"),
        ("Zürich ({{IPA|x}}) [[北京|北京市]]", "Zürich 北京市"),
        ("5 < 6 and {a} [b] 'c' it's", "5 < 6 and {a} [b] 'c' it's"),
        ("", ""),
    ],
)
def test_markup(markup, text):
    assert strip_markup(markup) == text


@pytest.mark.parametrize(
    "markup", ["start {{a [[b|c", "start <ref>a", "start {| b", "}}]]|}--> start", "[[a {{b]] start"]
)
def test_what_is_never_closed_loses_no_text(markup):
    assert "start" in strip_markup(markup)


@pytest.mark.parametrize(
    "piece",
    ["{{", "[[", "<b>", "<ref>", "{|", "<!--", "<b ", "[http://a ", "[[a|", "'''", "=", "(", "{{a}}", "]]", "[[}}"],
)
def test_hostile_markup_takes_no_time(piece):
    started = time.process_time()
    strip_markup(piece * 20_000 + "x")
    assert time.process_time() - started < 5
