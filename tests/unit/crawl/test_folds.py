"""Official folds: the tested documents are those of the list; a list that does not fit is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ulmfit_dist.corpus.documents import Document, read_documents
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl import pieces as pieces_module
from ulmfit_dist.crawl.checks import check_inputs
from ulmfit_dist.crawl.folds import records_to_read, split_document, with_folds
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings, OfficialFolds, Source
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall

SHARES = {"train": 0.5, "valid": 0.2, "test": 0.3}
# Not in blocks and of unequal sizes, so that a place off by one is seen.
FOLDS = [(number * number) % 7 % 3 for number in range(120)]
LIST = "".join(f"{fold}\n" for fold in FOLDS)
TEXTS = [f"review number {number // 2 if number % 10 < 2 else number} of many" for number in range(120)]


def settings(path: Path, test: int = 1, file: Path | str = "", **more: object) -> IngestSettings:
    return IngestSettings.model_validate(
        {
            "sources": [Source(path=str(path), duplicates="keep")],
            "labelled": True,
            "splits": SHARES,
            "official": OfficialFolds(folds=3, test=test, file=str(file)),
            "columns": SourceColumns(fold="" if file else "fold"),
            **more,
        }
    )


def table(folder: Path, folds: list[object]) -> Path:
    path = folder / "t.jsonl"
    rows = [{"text": text, "label": n % 2, "fold": fold} for n, (text, fold) in enumerate(zip(TEXTS, folds))]  # noqa: B905 - some lists are short
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows))
    return path


def source(folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_text("".join(f"{number % 2},{text}\n" for number, text in enumerate(TEXTS)))
    return path


def numbers(folder: Path, text: str = LIST) -> Path:
    path = folder / "folds.txt"
    path.write_text(text)
    return path


def splits(out: Path, chosen: IngestSettings) -> dict[str, list[int]]:
    """The places in the source of what each split holds."""
    ingest(StageCall(chosen, {}, out, Silent()))
    found = {}
    for name in SHARES:
        documents = list(read_documents(out / name))
        found[name] = [int(document.source.partition("#")[2]) - 1 for document in documents]
        assert [document.text for document in documents] == [TEXTS[place] for place in found[name]]
    return found


@pytest.mark.parametrize("kind", ["column", "file"])
@pytest.mark.parametrize("test", [0, 1, 2])
def test_the_test_split_is_the_fold_and_every_document_is_somewhere(tmp_path: Path, kind: str, test: int) -> None:
    listed = kind == "file"
    path, file = (source(tmp_path), numbers(tmp_path)) if listed else (table(tmp_path, list(FOLDS)), "")
    found = splits(tmp_path / "out", settings(path, test, file))
    assert found["test"] == [place for place, fold in enumerate(FOLDS) if fold == test]
    assert sorted(place for places in found.values() for place in places) == list(range(len(FOLDS)))
    # The rest is cut by words: equal texts of it lie in one split, those of the test fold are no matter.
    train = {TEXTS[place] for place in found["train"]}
    assert not train & {TEXTS[place] for place in found["valid"]}
    assert train & {TEXTS[place] for place in found["test"]}
    assert 0.1 < len(found["valid"]) / (len(found["valid"]) + len(found["train"])) < 0.5


def test_a_list_goes_by_place_however_large_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": n % 2}) + "\n" for n, text in enumerate(TEXTS)))
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 500)
    chosen = settings(path, 2, numbers(tmp_path))
    assert records_to_read(chosen) == len(FOLDS)
    assert records_to_read(settings(path)) is None
    assert splits(tmp_path / "out", chosen)["test"] == [place for place, fold in enumerate(FOLDS) if fold == 2]


def test_a_document_that_is_set_aside_keeps_its_number(tmp_path: Path) -> None:
    path = source(tmp_path)
    path.write_text(path.read_text().replace("1,review number 4", ",review number 4"))
    unlabelled = [n for n, line in enumerate(path.read_text().splitlines()) if line.startswith(",")]
    found = splits(tmp_path / "out", settings(path, 1, numbers(tmp_path), quarantine_share=0.2))
    assert unlabelled
    assert found["test"] == [n for n, fold in enumerate(FOLDS) if fold == 1 and n not in unlabelled]


def test_shares_of_the_rest_keep_their_proportion() -> None:
    chosen = settings(Path("t.csv"), splits={"train": 0.3, "valid": 0.1, "test": 0.6})
    names = [split_document(Document("", f"text {number}", fold="0"), chosen) for number in range(4000)]
    assert "test" not in names
    # Four standard deviations of a binomial.
    assert abs(names.count("valid") - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5
    turned = settings(Path("t.csv"), splits={"train": 0.3, "valid": 0.1, "test": 0.6}, rotation=0.5)
    assert names != [split_document(Document("", f"text {number}", fold="0"), turned) for number in range(4000)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({5: None}, r"record t.jsonl#6 is in no fold; found: no number; do: give each record a fold from 0 to 2"),
        ({5: "1.5"}, r"record t.jsonl#6 is in no fold; found: '1.5'"),
        ({5: -1}, r"record t.jsonl#6 .*'-1'"),
        ({5: 3}, r"record t.jsonl#6 is in no fold; found: '3'"),
        ({5: "\u0661"}, r"record t.jsonl#6 is in no fold"),
        ({place: 0 for place, fold in enumerate(FOLDS) if fold == 2}, r"fold 2 of .* is empty; found: documents in 2"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(tmp_path: Path, change: dict[int, object], message: str) -> None:
    path = table(tmp_path, [change.get(place, fold) for place, fold in enumerate(FOLDS)])
    with pytest.raises(InputError, match=message):
        check_inputs(settings(path), {})
    with pytest.raises(InputError, match=message):
        ingest(StageCall(settings(path), {}, tmp_path / "out", Silent()))
    assert not (tmp_path / "out").exists()


GOOD = [str(fold) for fold in FOLDS]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*GOOD[:7], "", *GOOD[8:]], r"line 8 of .*folds.txt is in no fold; found: no number"),
        ([*GOOD[:7], "x", *GOOD[8:]], r"line 8 of .*folds.txt is in no fold; found: 'x'"),
        ([*GOOD[:7], "3", *GOOD[8:]], r"line 8 of .*'3'"),
        (GOOD[:-1], r"folds.txt has another length; found: 119 numbers for 120 records of .*t.csv"),
        ([*GOOD, "0", "1"], r"folds.txt has another length; found: 122 numbers for 120"),
        (["0", "1"] * 60, r"fold 2 of .*t.csv is empty"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_inputs(settings(source(tmp_path), 1, numbers(tmp_path, "\n".join(lines) + "\n")), {})


def test_records_that_cannot_be_read_leave_a_list_without_meaning(tmp_path: Path) -> None:
    path = source(tmp_path)
    path.write_text(path.read_text().replace("0,review number 12 of", "0,one,review number 12 of"))
    with pytest.raises(InputError, match=r"folds.txt cannot go along .*t.csv; found: 1 records.*line 13"):
        check_inputs(settings(path, 1, numbers(tmp_path)), {})


def test_a_missing_list_and_several_sources_are_refused(tmp_path: Path) -> None:
    path = source(tmp_path)
    with pytest.raises(InputError, match=r"cannot read the folds of .*nowhere.txt"):
        check_inputs(settings(path, 1, tmp_path / "nowhere.txt"), {})
    several = settings(path, 1, numbers(tmp_path)).model_copy(update={"sources": [Source(path=str(path))] * 2})
    with pytest.raises(InputError, match="official folds are of one source; found: 2 sources"):
        check_inputs(several, {})


def test_a_trial_reads_the_beginning_of_a_list(tmp_path: Path) -> None:
    chosen = settings(source(tmp_path), 1, numbers(tmp_path), max_documents=60)
    assert splits(tmp_path / "out", chosen)["test"] == [n for n, fold in enumerate(FOLDS[:60]) if fold == 1]


def test_documents_after_the_end_of_a_list_have_no_fold(tmp_path: Path) -> None:
    documents = [Document("", str(number)) for number in range(3)]
    chosen = settings(Path("t.csv"), 1, numbers(tmp_path, "2\n01\n"))
    assert [document.fold for document in with_folds(documents, chosen)] == ["2", "1", ""]
    assert [document.fold for document in with_folds(documents, settings(Path("t.csv")))] == ["", "", ""]
