"""The text of an HTML page: resiliparse's main content, or what trafilatura calls so.

resiliparse has 28 times trafilatura's speed and the better recall (.90 against .74), trafilatura the better precision.
"""

from __future__ import annotations

import functools
import html as entities
import importlib
import re
from typing import TYPE_CHECKING, Literal

from resiliparse.extract.html2text import extract_plain_text

from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

ExtractorName = Literal["resiliparse", "trafilatura"]
MIN_MAIN_CHARACTERS = 100
# Main content is quadratic in nesting: depth 1,000 takes 0.03 s, 10,000 4 s, 100,000 more than a minute.
MAX_DEPTH = 2000
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# Elements without an end tag, or whose end tag may be left out: they do not nest in themselves.
_NOT_NESTING = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
    | {"p", "li", "dt", "dd", "option", "optgroup", "rp", "rt", "html", "head", "body"}
    | {"tr", "td", "th", "thead", "tbody", "tfoot", "colgroup"}
)
_WITHOUT_TEXT = frozenset({"script", "style", "noscript", "template"})


def extract_text(html: str, name: ExtractorName = "resiliparse") -> str:
    """Return the main content of a page; tags off when it nests too deep.

    resiliparse: the whole body when its main content has under 100 characters; trafilatura: "" where it finds nothing.
    """
    return strip_tags(html) if nesting_depth(html) > MAX_DEPTH else main_content(name)(html)


@functools.cache
def main_content(name: ExtractorName) -> Callable[[str], str]:
    """Return the function that gives a page's main content, its package loaded.

    Raises InputError where that cannot be loaded; in a child it would cost every page.
    """
    if name == "resiliparse":
        return _with_resiliparse
    try:
        extract = importlib.import_module("trafilatura").extract
    except ImportError as error:
        do = 'pip install "ulmfit-dist[trafilatura]", or leave crawl.extractor = "resiliparse"'
        found = str(error).replace("\n", " ")
        raise InputError("the package trafilatura is not installed, or not whole", found=found, do=do) from error

    def with_trafilatura(html: str) -> str:
        # It can leave out what it met in other pages before (`deduplicate`), but then a page's text depends on them.
        return extract(html, favor_precision=True, include_comments=False, deduplicate=False) or ""

    return with_trafilatura


def _with_resiliparse(html: str) -> str:
    main = str(extract_plain_text(html, main_content=True, list_bullets=False, alt_texts=False))
    if len(main) >= MIN_MAIN_CHARACTERS:
        return main
    return str(extract_plain_text(html, list_bullets=False, alt_texts=False))


def nesting_depth(html: str) -> int:
    """Return an upper bound of how deep a page's elements nest, in one cheap pass over its tags."""
    if html.count("<") <= MAX_DEPTH:
        return min(html.count("<"), MAX_DEPTH)
    depth = deepest = 0
    for match in _TAG.finditer(html):
        if match[2].lower() in _NOT_NESTING:
            continue
        depth = max(depth - 1, 0) if match[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def strip_tags(html: str) -> str:
    """Return what stands between the tags, scripts and styles left out; linear in the page's length."""
    texts: list[str] = []
    silent = ""
    for piece in html.split("<"):
        name = piece.partition(">")[0].split(None, 1)[0].lower() if piece[:1] not in ("", " ", ">") else ""
        if silent:
            silent = "" if name == f"/{silent}" else silent
        elif name in _WITHOUT_TEXT:
            silent = name
        if not silent:
            texts.append(piece.partition(">")[2] if texts else piece)
    return entities.unescape("\n".join(text for text in texts if text.strip()))
