"""A crawl of nine documents, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus.documents import DROP, Document, write_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.report import crawlscan
from ulmfit_dist.report.crawlscan import crawl_scan


def document(number: int, text: str, lang: str = "en", reason: str = "", **more: Any) -> Document:
    facts: dict[str, Any] = {"lang": lang, "lang_score": 0.97, "lang_share": 1.0, **more}
    decision = {"decision": DROP, "reason": reason} if reason else {}
    return Document(f"{number:032x}", text, **decision, **facts)


def small_crawl(folder: Path, item_characters: int = 1000) -> None:
    first, other = {"cluster": f"{1:032x}", "cluster_size": 3}, {"cluster": f"{5:032x}", "cluster_size": 2}
    train = [
        document(1, "one two three", url="http://www.a.example/1", **first),
        document(2, "one two three", reason="duplicate", **first),
        document(3, "one two threw", reason="near_duplicate", **first),
        document(4, "x", reason="too_short", url="http://a.example/"),
        document(5, "zwei Wörter", "de", url="http://b.example/", lang_score=0.5, **other),
        document(6, "zwei Worter", "de", reason="near_duplicate", lang_score=1.0, **other),
        document(7, "", "", reason="undecodable", lang_score=0.0),
    ]
    valid = [
        document(8, "four\nwords in lines", url="http://c.example/8"),
        document(9, "ก" * 12, "th", url="http://c.example/9"),
    ]
    write_documents(folder / "train", train, item_characters)
    write_documents(folder / "valid", valid, item_characters)


def cell(documents: int, size: int, characters: int, words: int) -> dict[str, int]:
    return {"documents": documents, "bytes": size, "characters": characters, "words": words}


def test_counts(tmp_path: Path) -> None:
    small_crawl(tmp_path)
    scan = crawl_scan(tmp_path, {})
    assert scan["matrix"] == {
        "": {"undecodable": cell(1, 0, 0, 0)},
        "de": {"": cell(1, 12, 11, 2), "near_duplicate": cell(1, 11, 11, 2)},
        "en": {
            "": cell(2, 32, 32, 7),
            "duplicate": cell(1, 13, 13, 3),
            "near_duplicate": cell(1, 13, 13, 3),
            "too_short": cell(1, 1, 1, 1),
        },
        "th": {"": cell(1, 36, 12, 1)},
    }
    assert scan["train"] == {"de": cell(1, 12, 11, 2), "en": cell(1, 13, 13, 3)}
    assert scan["lengths"]["en"] == [13, 13, 13, 19, 19]
    assert scan["unspaced"] == ["th"]
    assert scan["sites"]["en"]["most"] == [["c.example", 19, 1], ["a.example", 13, 1]]
    scores = {code: {place: n for place, n in enumerate(counts) if n} for code, counts in scan["scores"].items()}
    assert scores == {"de": {10: 1, 19: 1}, "en": {19: 5}, "th": {19: 1}}


def test_clusters_and_samples(tmp_path: Path) -> None:
    small_crawl(tmp_path)
    scan = crawl_scan(tmp_path, {})
    assert scan["cluster_sizes"] == {"2": 1, "3": 1}
    first, second = scan["clusters"]
    assert (first["size"], first["fates"]) == (3, {"": 1, "duplicate": 1, "near_duplicate": 1})
    assert [member["id"] for member in first["members"]] == [f"{i:032x}" for i in (1, 2, 3)]
    assert (second["cluster"], second["size"]) == (f"{5:032x}", 2)
    assert set(scan["samples"]) == {"", "duplicate", "near_duplicate", "too_short", "undecodable"}
    assert {sample["text"] for sample in scan["samples"][""]["en"]} == {"one two three", "four\nwords in lines"}
    (sample,) = scan["samples"]["too_short"]["en"]
    assert (sample["url"], sample["characters"], sample["reason"]) == ("http://a.example/", 1, "too_short")


def test_how_it_is_cut_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_crawl(tmp_path / "a")
    small_crawl(tmp_path / "b", item_characters=15)
    scans = [crawl_scan(tmp_path / "a", {})]
    monkeypatch.setattr(crawlscan, "_BATCH_ROWS", 1)
    scans.append(crawl_scan(tmp_path / "b", {}))
    assert len(pq.ParquetFile(tmp_path / "b/train/part-00000.parquet").metadata.to_dict()["row_groups"]) > 1
    assert replaced(scans[0]) == replaced(scans[1])


def replaced(scan: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scan.items() if name != "basis"}


def test_text_is_held_only_as_far_as_it_is_shown(tmp_path: Path) -> None:
    write_documents(tmp_path / "train", [document(i, "long " * 1000) for i in range(50)], 10_000)
    samples = crawl_scan(tmp_path, {})["samples"][""]["en"]
    assert [len(sample["text"]) for sample in samples] == [400] * 3
    assert samples[0]["characters"] == 5000


def test_a_known_scan_stands_until_the_documents_change(tmp_path: Path) -> None:
    small_crawl(tmp_path)
    known = {**crawl_scan(tmp_path, {}), "mark": 1}
    assert crawl_scan(tmp_path, known) is known
    write_documents(tmp_path / "valid", [document(8, "other")], 1000)
    assert crawl_scan(tmp_path, known)["matrix"]["en"][""] == cell(2, 18, 18, 4)


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no documents"):
        crawl_scan(tmp_path, {})


def test_a_score_of_one_lies_in_the_last_bin(tmp_path: Path) -> None:
    write_documents(tmp_path / "train", [replace(document(1, "a"), lang_score=1.0)], 10)
    assert crawl_scan(tmp_path, {})["scores"]["en"][-1] == 1
