"""A raw crawl to language models of several languages in one command; one that cannot be made stops no other."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ulmfit_dist.files import read_json
from ulmfit_dist.tokenization.tokenizer import load_tokenizer

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

# Written for this test.
SENTENCES = {
    "de": """Am Morgen ging der alte Fischer mit seinem Hund zum Hafen hinunter. Die Kinder spielten schon auf
    der Straße, obwohl es noch kühl war. Im Sommer kommen viele Leute aus der Stadt hierher. Niemand
    wusste genau, wann das Schiff zurückkehren würde. Sie kaufte Brot, Käse und ein wenig Wein für
    den Abend. Der Wind drehte sich plötzlich und es begann zu regnen. Wir haben gestern lange über
    das neue Buch gesprochen. Manche Häuser am Fluss sind älter als die Kirche. Er schrieb ihr jede
    Woche einen Brief, den sie nie beantwortete. Das Wasser war so klar, dass man den Grund sehen
    konnte.""",
    "fi": """Vanha kalastaja lähti aamulla koiransa kanssa satamaan. Lapset leikkivät jo kadulla, vaikka oli vielä
    viileää. Kesällä tänne tulee paljon ihmisiä kaupungista. Kukaan ei tiennyt tarkasti, milloin laiva palaisi. Hän osti
    leipää, juustoa ja vähän viiniä illaksi. Tuuli kääntyi äkkiä ja alkoi sataa vettä. Puhuimme eilen pitkään uudesta
    kirjasta. Jotkut talot joen varrella ovat kirkkoa vanhempia. Hän kirjoitti joka viikko kirjeen, johon ei koskaan
    vastattu. Vesi oli niin kirkasta, että pohja näkyi.""",
}
RECIPE = """
name = "languages"
units = ["subword"]
directions = ["forward"]
[corpus]
sources = ["crawl.warc.gz"]
valid_share = 0.2
[corpus.crawl]
quality = false
near_duplicate_similarity = 0.0
boilerplate_pages = 0
[languages]
separate = ["de", "sw"]
[languages.shared.both]
languages = ["de", "fi"]
alpha = 0.0
[tokenizers.subword]
change = { vocab_size = 120, byte_fallback = false }
[model]
embedding_size = 8
hidden_size = 12
num_layers = 1
[pretrain.training]
epochs = 1
num_lanes = 2
bptt = 20
[resources]
ingest_workers = 1
tokenizing_workers = 1
"""


def write_crawl(path: Path, pages: dict[str, int]) -> None:
    rng = random.Random(1)
    records = []
    for language, count in pages.items():
        sentences = [" ".join(one.split()) + "." for one in SENTENCES[language].split(".") if one.strip()]
        for number in range(count):
            text = "</p><p>".join(rng.sample(sentences, 7))
            html = f"<html><head><title>{number}</title></head><body><main><p>{text}</p></main></body></html>"
            body = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}".encode()
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2026-11-23T00:00:00Z\r\n"
                f"WARC-Record-ID: <urn:uuid:{language}-{number}>\r\nWARC-Target-URI: http://{language}{number}.example/\r\n"
                f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            records.append(gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0))
    path.write_bytes(b"".join(records))


def test_a_crawl_becomes_models_of_each_language_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    write_crawl(tmp_path / "crawl.warc.gz", {"de": 60, "fi": 20})
    (tmp_path / "languages.toml").write_text(RECIPE)
    run = tmp_path / "run"
    command = [sys.executable, "-m", "ulmfit_dist", "run", str(tmp_path / "languages.toml"), "--run-dir", str(run)]
    done = subprocess.run([*command, "--cpus", "2", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    said = json.loads(done.stdout)["languages"]
    assert said == read_json(run / "languages.json")
    rows = {row["language"]: row for row in said}
    assert {name: row["state"] for name, row in rows.items()} == {"de": "done", "sw": "failed", "both": "done"}
    assert "sw" in rows["sw"]["reason"]
    # Nothing of the language was found; the reason names the stage that noticed.
    assert rows["sw"]["documents"] == 0
    assert "sw" in done.stderr

    members = {name: [member["member"] for member in row["members"]] for name, row in rows.items()}
    assert members == {name: ["subword-forward"] for name in ("de", "sw", "both")}
    for name in ("de", "both"):
        for member in rows[name]["members"]:
            assert member["tokens"] > 500
            assert member["perplexity"] > 1
            assert member["hours"] > 0
            config = read_json(run / member["model"] / "config.json")
            assert config["language"] == name
            assert config["unit"] == member["member"].partition("-")[0]
    assert 40 <= rows["de"]["documents"] <= 56  # of 60 with a fifth for validation
    # As many characters as both have, but half of them of the smaller language: its documents, read more than once.
    assert rows["both"]["characters"] == pytest.approx(rows["de"]["characters"] * 80 / 60, rel=0.2)
    german, finnish = (SENTENCES[name][:30].split()[0] for name in ("de", "fi"))
    pieces = load_tokenizer(run / rows["both"]["members"][0]["model"] / "tokenizer")
    assert pieces.unk_id not in pieces.encode([f"{german} {finnish}"])[0].ids
    assert "sw" in (run / "report.html").read_text(encoding="utf-8")
    kept = set(run.rglob("stage.json"))

    # The language that failed is taken out: everything else is kept, and the run ends well.
    again = subprocess.run(
        [*command, "--cpus", "2", "--set", "languages.separate=['de']"], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "perplexity" in again.stdout
    assert kept == set(run.rglob("stage.json"))
