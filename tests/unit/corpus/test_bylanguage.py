"""Documents sorted by language: each kept one is in its language's folder, in order; work items stay bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.corpus import bylanguage
from ulmfit_dist.corpus.bylanguage import KIND, ByLanguageSettings, sort_by_language
from ulmfit_dist.corpus.documents import (
    DROP,
    Document,
    PartWriter,
    read_documents,
    read_manifest,
    verify_documents,
    work_items,
    write_documents,
)
from ulmfit_dist.errors import DataError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall
from ulmfit_dist.stages import STAGES

LANGUAGES = ("fi", "th", "und", "multi", "")


def documents(number: int, languages: tuple[str, ...] = LANGUAGES) -> list[Document]:
    return [
        Document(
            f"{place:032x}",
            f"teksti ภาษา {place} " * (place % 7 + 1),
            lang=languages[place % len(languages)],
            lang_score=place / number,
            url=f"https://example.org/{place}",
            decision=DROP if place % 11 == 0 else "keep",
            reason="duplicate" if place % 11 == 0 else "",
        )
        for place in range(number)
    ]


def prepared(tmp_path: Path, rows: list[Document], item_characters: int = 1000) -> StageCall[ByLanguageSettings]:
    for split, part in (("train", rows[:-20]), ("valid", rows[-20:])):
        write_documents(tmp_path / "in" / split, part, 700)
    settings = ByLanguageSettings(item_characters=item_characters)
    return StageCall(settings, {"documents": tmp_path / "in"}, tmp_path / "out", Silent())


def sort(tmp_path: Path, rows: list[Document], item_characters: int = 1000):
    return sort_by_language(prepared(tmp_path, rows, item_characters))


def test_each_language_has_its_kept_documents_in_order(tmp_path):
    rows = documents(300)
    summary = sort(tmp_path, rows)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fi", "th"]
    for language in ("fi", "th"):
        for split, part in (("train", rows[:-20]), ("valid", rows[-20:])):
            folder = tmp_path / "out" / language / split
            expected = [row for row in part if row.lang == language and row.decision == "keep"]
            assert list(read_documents(folder, None)) == expected
            counts = {"documents": len(expected), "characters": sum(len(row.text) for row in expected)}
            assert summary["languages"][language][split] == counts
            manifest = read_manifest(folder)
            assert (manifest.kept, manifest.characters) == (counts["documents"], counts["characters"])
    without = [row for row in rows if row.decision == "keep" and row.lang not in ("fi", "th")]
    assert summary["left_out"] == {name: sum(row.lang == name for row in without) for name in ("", "multi", "und")}


def test_work_items_have_the_size_asked_for(tmp_path):
    sort(tmp_path, documents(300), item_characters=1000)
    items = work_items(tmp_path / "out" / "fi" / "train")
    assert len(items) == 3
    # A row group of the source (700 characters and what ends it) is added whole.
    assert all(1000 <= item.characters <= 1800 for item in items[:-1])


def test_what_waits_is_bounded_whatever_the_number_of_languages(tmp_path, monkeypatch):
    names = tuple(f"x{chr(97 + i)}" for i in range(20))
    rows = documents(600, names)
    sort(tmp_path / "free", rows, item_characters=10**6)
    monkeypatch.setattr(bylanguage, "_MAX_WAITING_CHARACTERS", 5000)
    sort(tmp_path / "bounded", rows, item_characters=10**6)
    for name in names:
        free, bounded = (tmp_path / kind / "out" / name / "train" for kind in ("free", "bounded"))
        assert list(read_documents(free)) == list(read_documents(bounded))
        assert len(work_items(free)) == 1
    pieces = [item.characters for name in names for item in work_items(tmp_path / "bounded" / "out" / name / "train")]
    assert len(pieces) > 20
    assert max(pieces) <= 5000


def test_a_language_without_validation_text_has_an_empty_split(tmp_path):
    rows = [*documents(100, ("fi",)), *documents(20, ("th",))]
    summary = sort(tmp_path, rows)
    assert summary["languages"]["fi"]["valid"] == {"documents": 0, "characters": 0}
    assert list(read_documents(tmp_path / "out" / "fi" / "valid")) == []
    assert summary["languages"]["th"]["train"]["documents"] == 0


def test_text_that_was_never_looked_at_has_no_language(tmp_path):
    with pytest.raises(DataError, match="no document has a language"):
        sort(tmp_path, documents(50, ("",)))


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        sort(tmp_path / name, documents(300))
    files = {
        name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("a", "b")
    }
    assert files["a"] == files["b"]


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Killed(BaseException):
    pass


def test_a_corpus_of_several_stretches_is_the_same_documents(tmp_path, monkeypatch):
    rows = documents(400)
    whole = sort(tmp_path / "whole", rows)
    monkeypatch.setattr(bylanguage, "_STRETCH_CHARACTERS", 3000)
    assert sort(tmp_path / "cut", rows) == whole
    for language in ("fi", "th"):
        for split in ("train", "valid"):
            one, other = (tmp_path / kind / "out" / language / split for kind in ("whole", "cut"))
            assert list(read_documents(one)) == list(read_documents(other))
            assert verify_documents(other) == []
    parts = [part["name"] for part in read_manifest(tmp_path / "cut" / "out" / "fi" / "train").parts]
    assert len(parts) > 3
    assert parts == [f"part-{number:05d}.parquet" for number in range(len(parts))]
    assert not (tmp_path / "cut" / "out" / "receipts").exists()


@pytest.mark.parametrize("writes", [0, 1, 5, 9, 14])
def test_a_killed_sort_goes_on_with_the_stretch_it_was_in_and_gives_the_same_bytes(tmp_path, monkeypatch, writes):
    monkeypatch.setattr(bylanguage, "_STRETCH_CHARACTERS", 3000)
    whole, cut = (prepared(tmp_path / name, documents(400)) for name in ("whole", "cut"))
    sort_by_language(whole)
    add, done = PartWriter.add, []

    def dying(self, table):
        if len(done) == writes:
            raise Killed
        done.append(table.num_rows)
        add(self, table)

    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "add", dying)
        with pytest.raises(Killed):
            sort_by_language(cut)
    finished = sum(1 for _ in (cut.out / "receipts").glob("*"))
    assert (finished > 1) == (writes > 4)
    kept, stretches = bylanguage._kept, []
    monkeypatch.setattr(bylanguage, "_kept", lambda folder, groups: stretches.append(groups) or kept(folder, groups))
    sort_by_language(cut)
    assert files_of(cut.out) == files_of(whole.out)
    again = len(stretches)
    sort_by_language(whole)
    assert again == len(stretches) - again - finished


def test_a_stretch_of_which_a_part_is_damaged_is_sorted_again(tmp_path, monkeypatch):
    monkeypatch.setattr(bylanguage, "_STRETCH_CHARACTERS", 3000)
    call = prepared(tmp_path, documents(400))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda _: None)
        sort_by_language(call)
        before = files_of(call.out)
        part = call.out / "fi" / "train" / "part-00001.parquet"
        part.write_bytes(part.read_bytes()[:-1])
        sort_by_language(call)
    assert files_of(call.out) == before


def test_its_stage_is_known_by_its_name():
    assert KIND in STAGES
