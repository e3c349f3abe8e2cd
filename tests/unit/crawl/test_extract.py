"""Extraction: main content, the body when there is little, and no page that takes for ever."""

from __future__ import annotations

import importlib
import time

import pytest

from ulmfit_dist.crawl.extract import MAX_DEPTH, extract_text, main_content, nesting_depth, strip_tags
from ulmfit_dist.crawl.extractor import Extractor
from ulmfit_dist.errors import InputError

LONG = "This sentence belongs to the article and says something at length about a subject. " * 4


def test_main_content_without_the_frame():
    page = (
        "<html><body><nav><a href='/'>Home page link</a></nav>"
        f"<main><article><h1>Title</h1><p>{LONG}</p></article></main>"
        "<footer>Imprint notice</footer></body></html>"
    )
    text = extract_text(page)
    assert LONG.strip()[:60] in text
    assert "Home page link" not in text
    assert "Imprint notice" not in text


def test_the_whole_body_when_main_content_is_short():
    page = f"<html><body><nav>{LONG}</nav><main><p>Short.</p></main></body></html>"
    assert LONG.strip()[:60] in extract_text(page)


@pytest.mark.parametrize("depth", [1, 50, MAX_DEPTH, MAX_DEPTH + 1, 30_000])
def test_depth_is_counted(depth):
    page = "<div>" * depth + "x" + "</div>" * depth
    found = nesting_depth(page)
    assert found >= depth
    assert (found > MAX_DEPTH) == (depth > MAX_DEPTH)


def test_long_flat_pages_are_not_deep():
    page = "<ul>" + "<li>item<br>" * 10_000 + "</ul>" + "<p>para" * 10_000 + "<b>x</b>" * 10_000
    assert nesting_depth(page) < 10


@pytest.mark.parametrize("opening", ["<div>", "<b>", "<script>", "<a href=x>", "<", "<!--", "<div " * 3])
def test_hostile_nesting_takes_no_time(opening):
    page = opening * 60_000 + LONG
    started = time.monotonic()
    extract_text(page)
    assert time.monotonic() - started < 5


def test_tags_scripts_and_styles_are_stripped():
    page = (
        "before<p class='a'>one &amp; two</p><script>if (a < b) { x(); }</script><STYLE>p {}</STYLE><i>three</i> 1 < 2"
    )
    assert strip_tags(page).split() == ["before", "one", "&", "two", "three", "1"]
    assert strip_tags("plain text") == "plain text"
    assert strip_tags("") == ""


def test_a_deep_page_gives_its_text():
    assert LONG[:60] in extract_text("<div>" * 5000 + LONG + "</div>" * 5000)


def test_the_extractor_that_is_asked_for_does_it():
    pytest.importorskip("trafilatura")
    menu = "".join(f"<li><a href='/{n}'>Chapter {n} of the book</a></li>" for n in range(30))
    page = f"<html><body><div class='menu'><ul>{menu}</ul></div><article><p>{LONG}</p></article></body></html>"
    text = extract_text(page, "trafilatura")
    assert text.strip() == LONG.strip()
    assert "Chapter 7" not in text
    # No page depends on those before it, and what has no main content has no text.
    assert extract_text(page, "trafilatura") == text
    assert extract_text("<nav>Menu</nav>", "trafilatura") == ""
    assert extract_text("", "trafilatura") == ""


def test_a_deep_page_keeps_trafilatura_from_it():
    pytest.importorskip("trafilatura")
    started = time.monotonic()
    assert LONG[:60] in extract_text("<div>" * 100_000 + LONG + "</div>" * 100_000, "trafilatura")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("found", ["No module named 'trafilatura'", "lxml.html.clean\nis a separate project"])
def test_a_package_that_is_missing_is_named(monkeypatch, found):
    def missing(name):
        raise ImportError(found)

    main_content.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"trafilatura is not installed.*ulmfit-dist\[trafilatura\]"):
        main_content("trafilatura")
    with pytest.raises(InputError, match="trafilatura"):
        Extractor(name="trafilatura")
