"""The chunk table: what it holds is what spaCy and the rules give, and what it lacks is cut all the same."""

from __future__ import annotations

import pytest

from ulmfit_dist.errors import DigestError
from ulmfit_dist.tokenization import counted
from ulmfit_dist.tokenization.chunk_table import ChunkTable, count_chunks, covers, write_part, write_table
from ulmfit_dist.tokenization.memo import ChunkMemo
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.word import WordSplitter

EN = WordSplitter(WordRecipe())
TEXTS = ["The cat, the <b>CAT</b>\nElvis' ''Love wow!!!!", "don't\x1fcan't no no no", "\ufdd0 \ud800 &amp; e.g."]


def in_turn(function, items):
    return [(item, function([item])[0]) for item in items]


def make(folder, texts, parts=2, leave_out=()):
    counted.write_counted(folder / "c", count_chunks(texts, EN))

    def each(function, chunks):
        return in_turn(function, [chunk for chunk in chunks if chunk not in leave_out])

    receipts = [
        write_part(folder / f"p{part}", counted.merge_counted([folder / "c"], part, parts), EN, each)
        for part in range(parts)
    ]
    write_table(folder, receipts, EN.identity, ["one", "two"])
    return folder


def tokens(made, texts):
    encoded = made.encode(texts)
    return [made.tokens[code] for code in encoded.codes.tolist()]


def test_chunks_are_counted_without_markers():
    counts = count_chunks(["a  b a\nb &amp;<br>a", "", "a\x1fb"], EN).as_dict()
    assert counts == {"a": 4, "b": 3, "&": 1}
    assert count_chunks([], EN).as_dict() == {}


def test_a_memo_with_the_table_of_its_texts_cuts_only_what_is_linked(tmp_path):
    made = ChunkMemo(EN, ChunkTable(make(tmp_path, TEXTS), EN.identity))
    assert tokens(made, TEXTS) == [token for text in TEXTS for token in EN.tokens(text)]
    assert made.missed == 1  # Elvis' ''Love
    assert ChunkMemo(EN).missed == 0


def test_what_the_table_lacks_is_cut(tmp_path):
    table = ChunkTable(make(tmp_path, TEXTS, leave_out=("don't", "The")), EN.identity)
    assert table.find(["don't", "cat,", "unheard-of", ""]) == [None, (["cat", ","], 0), None, None]
    assert tokens(ChunkMemo(EN, table), TEXTS) == [token for text in TEXTS for token in EN.tokens(text)]


def test_two_chunks_of_one_hash_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(counted.xxhash, "xxh3_64_intdigest", len)
    made = ChunkMemo(EN, ChunkTable(make(tmp_path, TEXTS), EN.identity))
    assert tokens(made, TEXTS) == [token for text in TEXTS for token in EN.tokens(text)]


def test_a_table_of_other_rules_or_with_a_changed_part_is_refused(tmp_path):
    make(tmp_path, TEXTS)
    with pytest.raises(DigestError, match="other rules"):
        ChunkTable(tmp_path, "0" * 32)
    data = bytearray((tmp_path / "p1").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "p1").write_bytes(data)
    with pytest.raises(DigestError, match="p1"):
        ChunkTable(tmp_path, EN.identity)


def test_an_empty_part_is_legal(tmp_path):
    table = ChunkTable(make(tmp_path, ["one"], parts=8), EN.identity)
    assert [entry is not None for entry in table.find(["one", "two", "three"])] == [True, False, False]


def test_what_a_table_covers(tmp_path):
    make(tmp_path, TEXTS)
    assert covers(tmp_path, ["two"])
    assert not covers(tmp_path, ["two", "three"])


def test_a_part_tells_what_it_holds(tmp_path):
    counted.write_counted(tmp_path / "c", count_chunks(["a b a"], EN))
    receipt = write_part(tmp_path / "p", counted.merge_counted([tmp_path / "c"], 0, 1), EN, in_turn)
    assert (receipt.chunks, receipt.occurrences) == (2, 3)
