"""The text of a page in wiki markup: one pass of a small stack machine, linear in the page whatever it holds.

mwparserfromhell was measured and not taken: 1 MB of markup a second, and 13 s for 20,000 tags that are never closed.
What is left out: templates, tables, references, formulas, galleries, comments, files and categories.
"""

from __future__ import annotations

import html
import re
from collections import Counter

_SILENT = (
    "ref|references|math|chem|ce|gallery|timeline|syntaxhighlight|source|score|imagemap|graph|hiero|templatestyles"
)
_TOKEN = re.compile(
    rf"<!--|-->|\{{\{{\{{(?!\{{)|\{{\{{|\}}\}}\}}(?!\}})|\}}\}}|(?<!\{{)\{{\|(?![|}}])|\|\}}(?!\}})|\[\[|\]\]"
    rf"|<(?P<end>/?)(?P<silent>{_SILENT})\b[^<>]{{0,500}}>|<(?P<tag>/?[a-zA-Z][a-zA-Z0-9]*)[^<>]{{0,500}}>",
    re.IGNORECASE,
)
_OPENING = {"{{": "template", "{{{": "template", "{|": "table", "[[": "link", "<!--": "comment"}
_CLOSING = {"}}": "template", "}}}": "template", "|}": "table", "]]": "link", "-->": "comment"}
_BREAKS = frozenset({"br", "p", "/p", "div", "/div", "li", "/li", "tr", "/tr", "blockquote", "/blockquote"})
# Namespace:Page, where a title such as "Star Wars: A New Hope" has a blank; those of one word are the price.
_NAMESPACE = re.compile(r"\s*([^\s:|]+):\S")
_INTERWIKI = re.compile(r"[a-z-]{1,12}")
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\]]{1,2000}(?: +([^\]\n]{0,1000}))?\]")
_QUOTES = re.compile(r"'{2,}")
_SWITCH = re.compile(r"__[A-Z]{3,30}__")
_EMPTY_BRACKETS = re.compile(r" ?\([\s;,]*\)")
_LIST = re.compile(r"[*#:;]+\s*")
_EMPTY_LINES = re.compile(r"\n{3,}")


def strip_markup(markup: str) -> str:
    """Return what a reader of the page would read, tables and boxes left out; a paragraph, heading or item a line."""
    text = _QUOTES.sub("", _SWITCH.sub("", _EXTERNAL.sub(r"\1", _unnested(markup))))
    lines = (_line(line) for line in html.unescape(_EMPTY_BRACKETS.sub("", text)).split("\n"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def _line(line: str) -> str:
    line = line.strip()
    if line.startswith("=") and line.endswith("="):
        return line.strip("= ")
    if line.startswith("----"):
        return line.lstrip("-")
    match = _LIST.match(line)
    return line[match.end() :] if match else line


class _Frames:
    """What is open: (kind, pieces of text); frames are dropped, shown or, unclosed, given to the one around them."""

    def __init__(self) -> None:
        self._stack: list[tuple[str, list[str]]] = [("", [])]
        self._open: Counter[str] = Counter()

    def add(self, text: str) -> None:
        self._stack[-1][1].append(text)

    def push(self, kind: str) -> None:
        self._stack.append((kind, []))
        self._open[kind] += 1

    def close(self, kind: str) -> None:
        """Close the innermost frame of a kind; a link only when nothing opened in it is still open."""
        if not self._open[kind] or (kind == "link" and self._stack[-1][0] != kind):
            return
        while True:
            closed, pieces = self._stack.pop()
            self._open[closed] -= 1
            if closed == kind:
                break
        if kind == "link":
            self.add(_link("".join(pieces)))

    def text(self) -> str:
        return "".join(piece for _, pieces in self._stack for piece in pieces)


def _unnested(markup: str) -> str:
    frames = _Frames()
    done = 0
    for match in _TOKEN.finditer(markup):
        frames.add(markup[done : match.start()])
        done = match.end()
        token = match[0]
        if token in _OPENING:
            frames.push(_OPENING[token])
        elif token in _CLOSING:
            frames.close(_CLOSING[token])
        elif match["silent"]:
            kind = match["silent"].lower()
            if match["end"]:
                frames.close(kind)
            elif not token.endswith("/>"):
                frames.push(kind)
        elif match["tag"].lower() in _BREAKS:
            frames.add("\n")
    frames.add(markup[done:])
    return frames.text()


def _link(content: str) -> str:
    """What `[[content]]` shows: its label, else its target; nothing of a file or a category."""
    target, bar, label = content.partition("|")
    namespace = _NAMESPACE.match(target)
    if namespace is None:
        return label if bar else target.removeprefix(":")
    return label if bar and _INTERWIKI.fullmatch(namespace[1]) else ""
