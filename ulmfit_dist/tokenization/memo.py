"""The memo: documents to tokens, by looking up the tokens of each chunk instead of cutting it again.

A cache, never a second definition: `word.WordSplitter` says what the tokens are, and tests and `ulmfit verify` compare.
Natural text repeats its chunks (of 100 chunks in a row two are new after 30 million words), so that almost all of the
work is one cut at white space, one dictionary encoding and two gathers, all in Arrow and numpy over a million
characters at a time.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from ulmfit_dist.tokenization.chunks import DOCUMENT, MARK, batches, is_marker, split
from ulmfit_dist.tokenization.counted import Counted, count_keys
from ulmfit_dist.tokenization.hot_chunks import HotChunks
from ulmfit_dist.tokenization.interplay import TOUCHY, linked_runs
from ulmfit_dist.tokenization.rawtext import replace_lone_surrogates
from ulmfit_dist.tokenization.special import XXMAJ, XXREP, XXUP, XXWREP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ulmfit_dist.tokenization.chunk_table import ChunkTable
    from ulmfit_dist.tokenization.word import WordSplitter

# An entry costs about 200 bytes. What falls out is looked up in the table again, or cut again.
_MAX_ENTRIES = 2_000_000
# Without blanks between words a chunk is a phrase or a sentence: ten times as long, and seldom seen again.
_MAX_SENTENCES = 200_000


class Tokens(NamedTuple):
    """Documents as token codes (the index in `ChunkMemo.tokens`), one after another.

    codes: (t,) int32; document i is codes[starts[i] : starts[i + 1]], starts (n + 1,) int64; words: (n,) int64, chunks
    of text in each document.
    """

    codes: np.ndarray
    starts: np.ndarray
    words: np.ndarray


class ChunkMemo:
    """Tokens of chunks, kept in memory up to a bound; with a table, chunks that are not kept are looked up there first.

    `tokens`: the token of each code; a new list when the memo starts anew, which only `encode` does.
    `missed`: chunks that spaCy had to cut so far.
    """

    def __init__(self, splitter: WordSplitter, table: ChunkTable | None = None) -> None:
        self._splitter, self._table = splitter, table
        self.missed = 0
        self._start()

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Turn raw documents into token codes, in order."""
        if len(self._names) > (_MAX_SENTENCES if self._splitter.segmented else _MAX_ENTRIES):
            self._start()
        parts = [self._encode(batch) for batch in batches(texts)]
        lengths = [np.diff(part.starts) for part in parts]
        starts = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
        codes = np.concatenate([np.zeros(0, np.int32), *(part.codes for part in parts)])
        return Tokens(codes, starts, np.concatenate([np.zeros(0, np.int64), *(part.words for part in parts)]))

    def count(self, texts: Sequence[str]) -> Counted:
        """Count the tokens of raw documents."""
        counts = np.bincount(self.encode(texts).codes, minlength=len(self.tokens))
        kept = np.flatnonzero(counts)
        keys = pa.array([self.tokens[code] for code in kept.tolist()], pa.large_string())
        return count_keys(keys, counts[kept])

    def _encode(self, texts: Sequence[str]) -> Tokens:
        chunks = self._chunks(texts)
        first_chunk = np.flatnonzero(chunks == self._document)
        if self._splitter.rules.chunking.keeps_white_space:
            words = np.array(list(map(self._splitter.count_words, texts)), np.int64)
        else:
            words = np.add.reduceat(self._words.array[chunks], first_chunk, dtype=np.int64)
        self._cut_linked(chunks)
        lengths = self._lengths.array[chunks]
        ends = np.cumsum(lengths, dtype=np.int64)
        origin = ends - lengths
        codes = self._flat.array[np.repeat(self._starts.array[chunks] - origin, lengths) + np.arange(ends[-1])]
        starts = np.append(origin[first_chunk], ends[-1])
        if self._splitter.rules.chunking.counts_word_repeats:
            codes, starts = self._count_word_repeats(codes, starts)
        return Tokens(codes, starts, words)

    def _chunks(self, texts: Sequence[str]) -> np.ndarray:
        """Cut documents at white space: the code of each chunk, markers included."""
        try:
            chunks = split(map(self._prepare, texts))
        except UnicodeEncodeError:
            chunks = split(map(self._prepare, map(replace_lone_surrogates, texts)))
        codes, keys = self._hot.find(chunks)
        others = np.flatnonzero(codes < 0)
        if len(others):
            distinct = chunks.take(pa.array(others)).dictionary_encode()
            codes[others] = self._codes(distinct.dictionary.to_pylist())[distinct.indices.to_numpy()]
            self._hot.add(keys, others, codes)
        return codes

    def _prepare(self, text: str) -> str:
        prepared = self._splitter.chunk_cutter.prepare(text)
        if prepared is not None:
            return prepared
        name = f"{MARK}r{xxhash.xxh3_128_hexdigest(text.encode())}"
        if name not in self._code:
            self._add([name], [(self._splitter.tokens(text), 0)], words=self._splitter.count_words(text))
        return f"{DOCUMENT} {name}"

    def _codes(self, names: list[str]) -> np.ndarray:
        codes = np.fromiter(map(self._code.get, names, repeat(-1)), np.int32, len(names))
        missing = np.flatnonzero(codes < 0).tolist()
        if missing:
            new = [names[place] for place in missing]
            self._learn(new)
            codes[missing] = [self._code[name] for name in new]
        return codes

    def _learn(self, names: list[str]) -> None:
        """Add the entries of new chunks: markers by what they say, others from the table, the rest by spaCy."""
        cutter = self._splitter.chunk_cutter
        markers = [name for name in names if is_marker(name)]
        if markers:
            self._add(markers, [(cutter.tokens_of_marker(name), 0) for name in markers], words=0)
        chunks = [name for name in names if not is_marker(name)] if markers else names
        if self._table is not None:
            found = self._table.find(chunks)
            here = [(chunk, entry) for chunk, entry in zip(chunks, found, strict=True) if entry is not None]
            self._add([chunk for chunk, _ in here], [entry for _, entry in here])
            chunks = [chunk for chunk, entry in zip(chunks, found, strict=True) if entry is None]
        self.missed += len(chunks)
        self._add(chunks, cutter.cut(chunks))

    def _add(self, names: list[str], entries: list[tuple[list[str], int]], words: int = 1) -> None:
        first = len(self._names)
        self._code.update(zip(names, range(first, first + len(names)), strict=True))
        self._names += names
        lengths = np.fromiter((len(tokens) for tokens, _ in entries), np.int32, len(entries))
        self._starts.extend(len(self._flat) + np.cumsum(lengths, dtype=np.int64) - lengths)
        self._lengths.extend(lengths)
        self._flags.extend(np.fromiter((flags for _, flags in entries), np.uint8, len(entries)))
        self._words.extend(np.full(len(names), words, np.int32))
        flat = [token for tokens, _ in entries for token in tokens]
        codes = np.fromiter(map(self._token_codes.get, flat, repeat(-1)), np.int32, len(flat))
        for place in np.flatnonzero(codes < 0).tolist():
            codes[place] = self._token_code(flat[place])
        self._flat.extend(codes)

    def _token_code(self, token: str) -> int:
        code = self._token_codes.get(token)
        if code is None:
            code = self._token_codes[token] = len(self.tokens)
            self.tokens.append(token)
        return code

    def _cut_linked(self, chunks: np.ndarray) -> None:
        """Replace chunks that have to be cut together by one entry of their own, in place."""
        flags = self._flags.array[chunks]
        if not (flags & TOUCHY).any():
            return
        runs = linked_runs(flags)
        names = [" ".join(self._names[code] for code in chunks[start:end].tolist()) for start, end in runs]
        codes = self._codes(names).tolist()
        for (start, end), code in zip(runs, codes, strict=True):
            chunks[start] = code
            chunks[start + 1 : end] = self._empty

    def _count_word_repeats(self, codes: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Do what rules.COUNT_WORD_REPEATS does, to tokens whose capitals are marked already."""
        places = np.flatnonzero((codes != self._maj) & (codes != self._up))
        words = codes[places]
        # Neither the count and the character after xxrep nor a field's number is a word, nor the beginning of an empty
        # document: each becomes a value of its own, so that it ends every run.
        for marker, steps in ((self._rep, (1, 2)), (self._fld, (1,)), (self._bos, (0,))):
            marked = np.flatnonzero(words == marker)
            for step in steps:
                words[marked + step] = -1 - marked - step
        same = words[1:] == words[:-1]
        thirds = np.flatnonzero(same[1:] & same[:-1])
        if not len(thirds):
            return codes, starts
        breaks = np.flatnonzero(np.diff(thirds) > 1)
        firsts = thirds[np.concatenate(([0], breaks + 1))].tolist()
        lasts = (thirds[np.concatenate((breaks, [len(thirds) - 1]))] + 2).tolist()
        pieces, cuts, done = [], [], 0
        for first, last in zip(firsts, lasts, strict=True):
            if not any(map(str.isalnum, self.tokens[words[first]])):
                continue
            begin, end = int(places[first - 1]) + 1 if first else 0, int(places[last]) + 1
            count = [self._wrep, self._token_code(str(last - first + 1))]
            kept = codes[begin : places[first] + 1]
            pieces += [codes[done:begin], np.array(count, np.int32), kept]
            cuts.append((end, end - begin - len(kept) - 2))
            done = end
        if not cuts:
            return codes, starts
        ends, removed = np.array(cuts, np.int64).T
        lost = np.concatenate([[0], np.cumsum(removed)])
        return np.concatenate([*pieces, codes[done:]]), starts - lost[np.searchsorted(ends, starts, "right")]

    def _start(self) -> None:
        self._hot = HotChunks()
        self._code: dict[str, int] = {}
        self._names: list[str] = []
        self._token_codes: dict[str, int] = {}
        self.tokens: list[str] = []
        self._flat, self._lengths = _Growing(np.int32), _Growing(np.int32)
        self._starts, self._words, self._flags = _Growing(np.int64), _Growing(np.int32), _Growing(np.uint8)
        rules = self._splitter.rules
        self._maj, self._up, self._rep, self._wrep = map(self._token_code, (XXMAJ, XXUP, XXREP, XXWREP))
        self._bos, self._fld = map(self._token_code, (rules.bos, rules.fld))
        self._document, self._empty = self._codes([DOCUMENT, ""]).tolist()


class _Growing:
    """A one-dimensional array that grows at its end, at constant cost a value on average."""

    def __init__(self, dtype: Any) -> None:
        self._room = np.zeros(1 << 10, dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def array(self) -> np.ndarray:
        """The values, a view that is valid until the next one comes."""
        return self._room[: self._length]

    def extend(self, values: Sequence[int] | np.ndarray) -> None:
        """Add values."""
        needed = self._length + len(values)
        if needed > len(self._room):
            self._room = np.concatenate([self._room, np.zeros(max(needed, len(self._room)), self._room.dtype)])
        self._room[self._length : needed] = values
        self._length = needed
