"""What a SentencePiece model is trained on: a seeded sample of lines, of bounded size, the same in any order."""

from __future__ import annotations

import heapq
import re
from operator import itemgetter
from typing import TYPE_CHECKING

import xxhash

from ulmfit_dist.tokenization.rawtext import split_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# SentencePiece's own limit (max_sentence_length): it leaves longer lines out with no more than a warning.
MAX_LINE_BYTES = 4192
# It leaves out lines with these as well: U+2585 is its byte of no piece, NUL ends its strings.
_REFUSED = str.maketrans({"\u2585": " ", "\0": " "})
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*\s|[。！？｡।॥؟۔။]+[”’」』）]*")


Numbered = list[tuple[int, str]]
WHOLE = 1 << 64


def sample_lines(texts: Iterable[str], sample_characters: int, seed: int) -> list[str]:
    """Choose lines of raw documents, at most `sample_characters` characters of them (but one line at least).

    Each line gets a number, a hash of its document, its place there and the seed; the lines of the smallest numbers
    are the sample, in the order of those numbers. So the sample is the same in whatever order the documents come, and
    memory holds the sample alone. Without text the list is empty.
    """
    return join_samples([number_lines(texts, sample_characters, seed)], sample_characters)


def number_lines(texts: Iterable[str], sample_characters: int, seed: int, below: int = WHOLE) -> Numbered:
    """Return what some documents can add to a sample, (number, line) sorted: the smallest numbers up to the bound.

    The last line may pass the bound. below: only lines whose number is smaller; they are that share of 2^64 of all.
    """
    heap: list[tuple[int, str]] = []  # (-number, line): the first to leave on top
    characters = 0
    for number, line in _numbered_lines(texts, seed):
        if number >= below or (characters >= sample_characters and (-number, line) <= heap[0]):
            continue
        heapq.heappush(heap, (-number, line))
        characters += len(line)
        while characters - len(heap[0][1]) >= sample_characters:
            characters -= len(heapq.heappop(heap)[1])
    return [(-number, line) for number, line in sorted(heap, reverse=True)]


def join_samples(samples: Iterable[Iterable[tuple[int, str]]], sample_characters: int) -> list[str]:
    """Return the sample of documents whose shares (`number_lines`) these are."""
    lines: list[str] = []
    characters = 0
    for _, line in heapq.merge(*samples, key=itemgetter(0)):
        if characters >= sample_characters:
            break
        lines.append(line)
        characters += len(line)
    # Until here the sample is the shortest run of lines that reaches the bound: only that is free of the order.
    return lines[:-1] if characters > sample_characters and len(lines) > 1 else lines


def cut_lines(text: str, limit: int = MAX_LINE_BYTES) -> Iterator[str]:
    """Cut text at line ends, and what is then longer than `limit` bytes of UTF-8 at sentence ends, blanks, or anywhere.

    Blank lines are left out; no other character is lost but white space at the cuts.
    """
    for line in text.splitlines():
        start = 0
        while start < len(line):
            head = line[start : start + limit].encode()[:limit].decode("utf-8", "ignore")
            end = len(head) if start + len(head) == len(line) else _last_end(head)
            if piece := head[:end].strip():
                yield piece
            start += end


def _last_end(head: str) -> int:
    ends = [match.end() for match in _SENTENCE_END.finditer(head)]
    return ends[-1] if ends else (head.rfind(" ") + 1 or len(head))


def _numbered_lines(texts: Iterable[str], seed: int) -> Iterator[tuple[int, str]]:
    for text in texts:
        clean = "\n".join(split_fields(text)).translate(_REFUSED)
        document = xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))
        for place, line in enumerate(cut_lines(clean)):
            yield xxhash.xxh3_64_intdigest(document + place.to_bytes(8, "little"), seed=seed), line
