"""The report of a made-up run: its numbers are in it, nothing is fetched, nothing of another run's folders is in it."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from ulmfit_dist.corpus.documents import Document, write_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.bootstrap import BootstrapSettings
from ulmfit_dist.finetune.labelled import LabelledDocuments
from ulmfit_dist.finetune.search import SearchSettings, write_trials
from ulmfit_dist.finetune.systems import System, binary_curves, compare, disagreement, measure
from ulmfit_dist.models.targets import TargetConfig
from ulmfit_dist.report.render import duration, render_report

MEMBERS = ("word-forward", "word-backward", "subword-forward", "subword-backward")
# xxh3_128 of the canonical JSON [["a.html","aa"],["b.html","bb"]]
FOLDER = xxhash.xxh3_128_hexdigest(b'[["a.html","aa"],["b.html","bb"]]')
HOSTILE = '<script src="https://evil.example/x.js">alert(1)</script> a fine film & more'


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def add_stage(run: Path, rows: list[dict[str, Any]], name: str, summary: dict[str, Any], **record: Any) -> Path:
    folder = run / "stages" / f"{name}-{len(rows):08x}"
    rows.append({"name": name, "kind": name, "fingerprint": f"{len(rows):032x}", "folder": f"stages/{folder.name}"})
    base = {"kind": name, "summary": summary, "seconds": 10.0 + len(rows), "host": "cradle", "settings": {"seed": 7}}
    write(folder / "stage.json", base | {"versions": {"torch": "2.13.0"}, "inputs": {}} | record)
    return folder


def curves(lr: float, start: float) -> dict[str, Any]:
    steps = range(10, 210, 10)
    points = [{"step": s, "epoch": s // 101, "loss": start * s**-0.1, "lr": lr * (1 - s / 300)} for s in steps]
    for i, point in enumerate(points):
        point["tokens_per_s"] = 100.0 if i % 2 else 300.0  # equal work at both: 150 tokens/s
    epochs = [{"step": s, "epoch": s // 101, "loss": start * s**-0.1 + 0.1} for s in (100, 200)]
    return {"points": points, "epochs": epochs}


def fake_metrics() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    documents = [Document(f"{i:032x}", HOSTILE if i == 0 else f"text {i}", label="x") for i in range(400)]
    test = LabelledDocuments(documents, ("neg", "pos"), np.arange(400) % 2)

    def system(name: str, kind: str, skill: float, **facts: Any) -> System:
        right = np.clip(rng.normal(0.5 + skill, 0.2, 400), 0.01, 0.99)
        probabilities = np.stack([1 - right, right], axis=1)
        probabilities[test.targets == 0] = probabilities[test.targets == 0, ::-1]
        return System(name, kind, probabilities, TargetConfig(), facts)

    systems = [system(name, "member", 0.15) for name in MEMBERS]
    systems += [system("ensemble", "ensemble", 0.2), system("tf-idf + LR", "baseline", 0.22)]
    systems.append(
        System("majority class", "majority", np.tile([0.5, 0.5], (400, 1)), TargetConfig(), {"label": "neg"})
    )
    settings = BootstrapSettings(resamples=1000)
    mistake = {"id": "ab" * 16, "label": "neg", "predicted": "pos", "probability": 0.987, "text": HOSTILE}
    return {
        "target": "multiclass",
        "headline": list(systems[4].measures.headline),
        "disagreement": disagreement(systems, test),
        "curves": binary_curves(systems[4], test),
        "labels": ["neg", "pos"],
        "test": {"documents": 400, "per_label": {"neg": 200, "pos": 200}},
        "final": "ensemble",
        "systems": [measure(system, test, settings) for system in systems],
        "comparisons": compare(systems[4], systems, test, settings),
        "mistakes": [mistake | {"characters": len(HOSTILE)}] * 10,
        "leakage": {"origins": [{"origin": "corpus", "documents": 12345, "exact": 3, "contained": 2}], "examples": []},
        "bootstrap": settings.model_dump(),
    }


def make_run(run: Path) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    source = run.parent / "reviews.csv"
    inputs = {"0": str(source.resolve()), "1": str(run.parent.resolve() / "pages")}
    ingest = add_stage(run, rows, "ingest-task", {}, inputs=inputs)
    documents = [Document(f"{i:032x}", "some text", label="neg") for i in range(30)]
    dropped = [Document(f"{99 + i:032x}", "t", decision="drop", reason="duplicate") for i in range(4)]
    write_documents(ingest / "train", documents + dropped, 1000)
    inside = {f"{inputs['1']}/{name}": [100, 1, digest] for name, digest in (("b.html", "bb"), ("a.html", "aa"))}
    write(run / "source-digests.json", {inputs["0"]: [4321, 1, "c0ffee" * 5]} | inside)
    for member in MEMBERS:
        metrics = {"perplexity": 123.4, "bits_per_character": 1.875, "unknown_rate": 0.0123}
        folder = add_stage(run, rows, f"pretrain-{member}", {"metrics": metrics})
        write(folder / "curves.json", curves(0.003, 6.0))
        coverage = {"row_share": 0.7, "token_share": 0.95}
        folder = add_stage(
            run, rows, f"finetune-{member}", {"metrics": metrics | {"perplexity": 88.8, "coverage": coverage}}
        )
        write(folder / "curves.json", curves(0.004, 5.0))
        folder = add_stage(run, rows, f"classifier-{member}", {"metrics": {"accuracy": 0.7}})
        write(folder / "curves.json", curves(0.01, 0.7))
    scores = {"before": {"ece": 0.11, "nll": 0.6}, "after": {"ece": 0.03, "nll": 0.5}}
    add_stage(run, rows, "ensemble", {"members": {m: scores | {"temperature": 1.37, "weight": 1} for m in MEMBERS}})
    metrics = fake_metrics()
    write(add_stage(run, rows, "evaluate", {}) / "metrics.json", metrics)
    write(run / "plan.json", {"stages": rows})
    add_stage(
        run, list(rows), "pretrain-word-sideways", {"metrics": {"perplexity": 999.9}}
    )  # left over from other settings
    events = [{"time": 1.7e9, "kind": "run-started"}, {"time": 1.7e9 + 432, "kind": "run-finished"}]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (run / "recipe.toml").write_text("[pretrain]\nepochs = 2\n")
    return metrics


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Tags, dict[str, Any]]:
    run = tmp_path_factory.mktemp("runs") / "quickstart"
    metrics = make_run(run)
    page = render_report(run).read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    return page, tags, metrics


def test_the_numbers_are_in_the_report(rendered: tuple[str, Tags, dict[str, Any]]) -> None:
    _, tags, metrics = rendered
    for row in metrics["systems"]:
        assert f"{100 * row['accuracy']['value']:.1f} %" in tags.text
        assert f"{100 * row['macro_f1']['low']:.1f} – {100 * row['macro_f1']['high']:.1f}" in tags.text
    for expected in (
        "123.4",
        "1.875",
        "1.23 %",
        "88.8",
        "150 tokens/s",
        "95.0 % of tokens",
        "1.37",
        "11.0 %",
        "98.7 %",
    ):
        assert expected in tags.text, expected
    for expected in (
        "12,345",
        "reviews.csv",
        "c0ffee" * 5,
        "4,321",
        "duplicate",
        "torch 2.13.0",
        "cradle",
        "7 min 12 s",
    ):
        assert expected in tags.text, expected
    assert len(metrics["disagreement"]["pairs"]) == 6
    for pair in metrics["disagreement"]["pairs"]:
        assert ", ".join(pair["members"]) in tags.text
        assert f"{100 * pair['differ']:.1f} %" in tags.text
    for cell in np.array(metrics["systems"][4]["confusion"]).ravel():
        assert re.search(rf"\b{cell}\b", tags.text)


def test_nothing_is_fetched_and_texts_stay_texts(rendered: tuple[str, Tags, dict[str, Any]]) -> None:
    page, tags, _ = rendered
    names = {tag for tag, _ in tags.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "base"}
    addresses = [v for _, attrs in tags.tags for k, v in attrs.items() if k in ("src", "href", "xlink:href", "action")]
    assert all(address is not None and address.startswith("#") for address in addresses)
    assert not re.findall(r"url\((?!#)|@import", page)
    assert "http" not in page.replace(html.escape(HOSTILE, quote=True).replace("&quot;", "&#34;"), "")
    assert HOSTILE in tags.text


def test_the_page_is_well_formed_and_figures_do_not_share_ids(rendered: tuple[str, Tags, dict[str, Any]]) -> None:
    page, tags, _ = rendered
    assert tags.open == []
    ids = [attrs["id"] for _, attrs in tags.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', page))
    assert used <= set(ids)
    # Six loss charts (three phases, two units), three of rates, one of calibration, ROC, precision.
    assert sum(tag == "svg" for tag, _ in tags.tags) == 12
    assert "prefers-color-scheme: dark" in page
    assert "#0000a" not in page
    assert "#010203" not in page


def test_only_the_plans_stages_count(rendered: tuple[str, Tags, dict[str, Any]]) -> None:
    assert "sideways" not in rendered[1].text
    assert "999.9" not in rendered[1].text


def test_same_run_same_bytes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run)
    first = render_report(run).read_bytes()
    assert render_report(run).read_bytes() == first


def test_an_unfinished_run_shows_what_is_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    rows: list[dict[str, Any]] = []
    add_stage(run, rows, "pretrain-word-forward", {"metrics": {"perplexity": 55.5}})
    rows.append({"name": "evaluate", "kind": "evaluate", "folder": "stages/evaluate-0"})
    write(run / "plan.json", {"stages": rows})
    page = render_report(run).read_text()
    assert "55.5" in page
    assert "Not finished: evaluate" in page


def test_a_search_is_shown_with_the_kept_trial_first(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    folder = add_stage(tmp_path, rows, "classifier-word-forward", {"metrics": {"accuracy": 0.7}})
    search = SearchSettings.model_validate({"trials": 3, "parameters": {"classifier.lr": [0.25]}})
    outcomes = (("done", 5, 0.5, ""), ("done", 5, 0.25, ""), ("failed", 1, None, "the loss is no number"))
    names = ("state", "epochs", "value", "reason")
    trials = [
        {"trial": i, "settings": {"classifier.lr": 0.25} if i else {}, **dict(zip(names, outcome, strict=True))}
        for i, outcome in enumerate(outcomes)
    ]
    write_trials(search, trials, 1, folder)
    write(tmp_path / "plan.json", {"stages": rows})
    page = Tags()
    page.feed(render_report(tmp_path).read_text(encoding="utf-8"))
    table = " ".join(page.text.partition("word-forward: 3 trials")[2].split())
    assert table.startswith(
        "trial lr loss epochs outcome 1 0.25 0.2500 5 kept 0 recipe 0.5000 5 done 2 0.25 – 1 failed"
    )
    assert "failed: the loss is no number" in table


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run directory"):
        render_report(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.21, "3.2 s"), (42.4, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_other_targets_have_their_own_tables(tmp_path: Path, kind: Any) -> None:
    make_run(tmp_path / "run")
    metrics = fake_metrics()
    several = kind == "multilabel"
    rng = np.random.default_rng(1)
    documents = [Document(f"{i:032x}", f"text {i}") for i in range(40)]
    targets = rng.integers(0, 2, (40, 2)) if several else rng.normal(3, 1, 40)
    test = LabelledDocuments(documents, ("neg", "pos") if several else ("stars",), targets, kind)
    target = TargetConfig(kind=kind)
    guesses = rng.random((40, 2)) if several else rng.normal(3, 1, (40, 1))
    systems = [System(name, "member", guesses, target, {}) for name in ("one", "two")]
    systems.append(System("majority class", "majority", guesses, target, {"label": "pos"}))
    settings = BootstrapSettings(resamples=1000)
    metrics |= {
        "target": kind,
        "headline": list(systems[0].measures.headline),
        "final": "one",
        "labels": list(test.labels),
        "systems": [measure(system, test, settings) for system in systems],
        "comparisons": compare(systems[0], systems, test, settings),
        "disagreement": disagreement(systems, test),
        "curves": binary_curves(systems[0], test),
    }
    metrics["mistakes"] = [metrics["mistakes"][0] | {"probability": None}]
    (path,) = (tmp_path / "run" / "stages").glob("evaluate-*/metrics.json")
    write(path, metrics)
    page = render_report(tmp_path / "run").read_text()
    assert ("micro F1" if several else "mean absolute error") in page
    assert ("Calibration" in page) == several
    assert "Rows: the true label" not in page
