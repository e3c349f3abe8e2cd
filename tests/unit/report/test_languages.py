"""The table of languages: a row for each, whether it is done or not, with its numbers from the stages' own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ulmfit_dist.report.languages import LANGUAGES_NAME, language_rows, read_languages, write_languages
from ulmfit_dist.report.render import render_report
from ulmfit_dist.report.run import read_run

RECIPE = '[languages]\nseparate = ["fi", "nb"]\n[languages.shared.all]\nlanguages = ["fi", "nb"]\n'
COUNTS = {"train": {"documents": 90, "characters": 9000}, "valid": {"documents": 10, "characters": 1000}}
MEASURES = {"perplexity": 12.5, "bits_per_character": 2.25, "unknown_rate": 0.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = []

    def add(name: str, kind: str, summary: dict | None, seconds: float = 36.0) -> None:
        folder = tmp_path / "stages" / f"{name.partition('@')[0]}-{len(rows):08x}"
        folder.mkdir(parents=True)
        place = str(folder.relative_to(tmp_path))
        rows.append({"name": name, "kind": kind, "fingerprint": "0" * 32, "folder": place, "inputs": {}})
        if summary is not None:
            record = {"summary": summary, "seconds": seconds, "host": "cradle", "settings": {}, "versions": {}}
            (folder / "stage.json").write_text(json.dumps({**record, "inputs": {}, "kind": kind}))

    add("ingest-corpus", "ingest", {})
    add("by-language", "by-language", {"languages": {"fi": COUNTS, "no": COUNTS}, "left_out": {}})
    add("mix-languages@all", "mix-languages", {"splits": {"train": {"documents": 200, "characters": 18000}}})
    for name in ("fi", "nb", "all"):
        done = name != "nb"
        add(f"tokenizer-subword@{name}", "train-tokenizer", {} if done else None)
        tokens = {"splits": {"train": {"tokens": 4321}, "valid": {"tokens": 7}}}
        add(f"tokenize-subword@{name}", "tokenize", tokens if done else None)
        for direction in ("forward", "backward"):
            add(f"pretrain-subword-{direction}@{name}", "pretrain", {"metrics": MEASURES} if done else None, 3600.0)
    (tmp_path / "plan.json").write_text(json.dumps({"stages": rows}))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    event = {"kind": "stage-failed", "time": 1.0, "name": "tokenizer-subword@nb", "reason": "too little text; do: more"}
    (tmp_path / "events.jsonl").write_text(json.dumps(event) + "\n")
    return tmp_path


def test_a_row_has_the_numbers_of_the_languages_own_stages(run):
    fi, _, both = language_rows(read_run(run))
    assert (fi["language"], fi["documents"], fi["characters"], fi["state"], fi["reason"]) == (
        "fi",
        90,
        9000,
        "done",
        "",
    )
    assert fi["hours"] == pytest.approx(2 + 2 * 0.01)
    forward, backward = fi["members"]
    assert (forward["member"], backward["member"]) == ("subword-forward", "subword-backward")
    assert forward["tokens"] == 4321
    assert {name: forward[name] for name in MEASURES} == MEASURES
    assert forward["hours"] == 1.0
    assert (run / forward["model"]).parent.is_dir()
    assert forward["model"].endswith("/model")
    assert (both["language"], both["documents"], both["characters"]) == ("all", 200, 18000)


def test_a_language_that_failed_says_why_and_has_no_model(run):
    nb = language_rows(read_run(run))[1]
    # The crawl knows Bokmal as Norwegian.
    assert (nb["documents"], nb["state"]) == (90, "failed")
    assert nb["reason"] == "tokenizer-subword: too little text; do: more"
    assert [member["model"] for member in nb["members"]] == [None, None]
    assert nb["members"][0]["perplexity"] is None


def test_a_language_that_waits_is_unfinished(run):
    (run / "events.jsonl").unlink()
    assert [row["state"] for row in language_rows(read_run(run))] == ["done", "unfinished", "done"]


def test_one_language_alone_has_stages_without_a_label(run):
    plan = json.loads((run / "plan.json").read_text())
    kept = [row for row in plan["stages"] if row["name"].partition("@")[2] in ("", "fi")]
    plan["stages"] = [{**row, "name": row["name"].removesuffix("@fi")} for row in kept]
    (run / "plan.json").write_text(json.dumps(plan))
    (run / "recipe.toml").write_text('[languages]\nseparate = ["fi"]\n')
    (row,) = language_rows(read_run(run))
    assert (row["language"], row["documents"], row["state"], len(row["members"])) == ("fi", 90, "done", 2)


def test_it_is_written_as_json_and_stands_in_the_report(run):
    assert write_languages(run)
    assert not write_languages(run)
    assert read_languages(run) == language_rows(read_run(run))
    text = render_report(run).read_text(encoding="utf-8")
    section = text.partition('<section id="languages">')[2].partition("</section>")[0]
    assert "12.5" in section
    assert "2.250" in section
    assert "4,321" in section
    assert "nb: tokenizer-subword: too little text" in section


def test_a_run_without_languages_has_no_table(run):
    write_languages(run)
    (run / "recipe.toml").write_text("")
    assert write_languages(run)
    assert not (run / LANGUAGES_NAME).exists()
    assert read_languages(run) == []
    assert '<section id="languages">' not in render_report(run).read_text(encoding="utf-8")
