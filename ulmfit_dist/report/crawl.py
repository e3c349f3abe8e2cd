"""The report of a crawl: what became of its documents, as a page of its own and as a section of a run's report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmfit_dist.crawl.rules import flagged
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.report import crawlfigures
from ulmfit_dist.report.crawlreasons import FATES, fate_of, meaning, reason_order
from ulmfit_dist.report.crawlscan import SHARES, crawl_scan
from ulmfit_dist.report.crawlwarnings import ENOUGH_TOKENS, LITTLE_TOKENS, crawl_warnings, is_language
from ulmfit_dist.report.run import StageFiles, read_stage
from ulmfit_dist.report.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

JSON_NAME = "report.json"
STAGE_KIND = "ingest"
_OTHERS = "others"
_COLUMNS = 24  # languages of a table; the rest are one column, and apart in the JSON
_SITE_LISTS = 8  # of languages; the rest folded
_SAMPLES = 10  # of a reason, on the page; the JSON has some of every language
# A text without blanks between its words has about two characters to a token of SentencePiece.
_CHARACTERS_PER_TOKEN = 2


def is_crawl_stage(folder: Path) -> bool:
    """Whether a folder is a finished ingest."""
    return (folder / "stage.json").is_file() and read_json(folder / "stage.json")["kind"] == STAGE_KIND


def crawl_report(stage: StageFiles) -> dict[str, Any]:
    """Return all that is told of a crawl as plain JSON, and leave it in the stage's folder as report.json.

    What `crawlscan.crawl_scan` returns, and: flagged: {language: {rule: share}}; counts and charsets of the stage's
    summary; asks: {reason: {documents, share}} of blocklists and robots; available: {language: {documents, tokens,
    train_tokens}}; phases: [{phase, seconds, documents_per_s}]; quarantined: {reason: n}; warnings: [sentences].
    Raises InputError where the stage has no documents.
    """
    path = stage.folder / JSON_NAME
    scan = crawl_scan(stage.folder, read_json(path) if path.is_file() else {})
    summary = stage.summary
    crawl = summary.get("crawl", {})
    counts = {code: {r: cell["documents"] for r, cell in row.items()} for code, row in scan["matrix"].items()}
    total = sum(sum(row.values()) for row in counts.values())
    told = {
        **scan,
        "flagged": flagged(counts),
        "counts": crawl.get("counts", {}),
        "charsets": crawl.get("charsets", {}),
        "asks": {
            reason: {"documents": n, "share": round(n / max(total, 1), 4)}
            for reason in ("blocked", "noai", "noindex")
            for n in [sum(row.get(reason, 0) for row in counts.values())]
        },
        "available": _available(scan),
        "phases": _phases(stage, total),
        "quarantined": summary.get("quarantined", {}),
    }
    told["warnings"] = crawl_warnings(told)
    write_json(path, told)
    return told


def crawl_context(stage: StageFiles) -> dict[str, Any]:
    """Return what the template of a crawl's report is filled with."""
    told = crawl_report(stage)
    columns = _columns(told)
    return {
        **told,
        "name": stage.name,
        "read": _sum(told, lambda _: True),
        "kept": _sum(told, lambda reason: not reason),
        "languages": [_language(told, code) for code in _by_tokens(told)],
        "num_languages": sum(map(is_language, told["available"])),
        "shown_languages": _COLUMNS,
        "tables": [_table(told, columns, unit) for unit in ("documents", "bytes")],
        "figures": crawlfigures.figures(told, stage.folder.name),
        "shares": SHARES,
        "reasons": [_samples(told, reason) for reason in sorted(told["samples"], key=reason_order)],
        "domains": [_domains(code, told) for code in _by_tokens(told)],
        "shown_domains": _SITE_LISTS,
        "largest": [
            {**one, "members": [_shown_sample(member) for member in one["members"]]} for one in told["clusters"]
        ],
        "longest_phase": max((row["seconds"] for row in told["phases"]), default=0) or 1,
    }


def read_crawl_stage(folder: Path) -> StageFiles:
    """Return the files of a finished ingest; InputError for another folder."""
    if not is_crawl_stage(folder):
        do = "name the folder of an ingest, or a run directory"
        raise InputError(f"{folder} is no finished ingest", found="no stage.json of one", do=do)
    return read_stage(folder.resolve().name, STAGE_KIND, folder)


def _sum(told: dict[str, Any], wanted: Any) -> dict[str, int]:
    out = dict.fromkeys(("documents", "bytes", "characters", "words"), 0)
    for row in told["matrix"].values():
        for reason, cell in row.items():
            if wanted(reason):
                out = {name: value + cell[name] for name, value in out.items()}
    return out


def _available(scan: dict[str, Any]) -> dict[str, dict[str, int]]:
    out = {}
    for code, row in scan["matrix"].items():
        if "" in row:
            unspaced = code in scan["unspaced"]
            out[code] = {
                "documents": row[""]["documents"],
                "tokens": _tokens(row[""], unspaced=unspaced),
                "train_tokens": _tokens(scan["train"][code], unspaced=unspaced) if code in scan["train"] else 0,
            }
    return out


def _tokens(cell: dict[str, int], *, unspaced: bool) -> int:
    return cell["characters"] // _CHARACTERS_PER_TOKEN if unspaced else cell["words"]


def _phases(stage: StageFiles, documents: int) -> list[dict[str, Any]]:
    seconds: dict[str, float] = {}
    for event in stage.events:
        if event["kind"] == "phase-finished":
            seconds[event["phase"]] = seconds.get(event["phase"], 0.0) + event["seconds"]
    return [
        {"phase": name, "seconds": round(time, 3), "documents_per_s": round(documents / max(time, 1e-3), 1)}
        for name, time in seconds.items()
    ]


def _by_tokens(told: dict[str, Any]) -> list[str]:
    """Codes with kept documents: languages, most tokens first, then what is none."""
    available = told["available"]
    return sorted(available, key=lambda code: (not is_language(code), -available[code]["tokens"], code))


def _language(told: dict[str, Any], code: str) -> dict[str, Any]:
    row = told["available"][code]
    most = max(one["tokens"] for other, one in told["available"].items() if is_language(other) or other == code)
    # Red, orange, or as the others.
    series = 4 if row["tokens"] < LITTLE_TOKENS else 1 if row["tokens"] < ENOUGH_TOKENS else 0
    share = min(1.0, row["tokens"] / max(most, 1))
    return {**row, "code": shown(code) or "none", "series": series, "share": share, "lengths": told["lengths"][code]}


def _by_weight(told: dict[str, Any], codes: Iterable[str]) -> list[str]:
    weights = {code: sum(cell["documents"] for cell in row.values()) for code, row in told["matrix"].items()}
    return sorted(codes, key=lambda code: (-weights[code], code))


def _columns(told: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The columns of the matrix: (name, languages), most documents first, the rest together."""
    codes = _by_weight(told, told["matrix"])
    rest = codes[_COLUMNS:]
    return [(shown(code) or "none", [code]) for code in codes[:_COLUMNS]] + ([(_OTHERS, rest)] if rest else [])


def _table(told: dict[str, Any], columns: list[tuple[str, list[str]]], unit: str) -> dict[str, Any]:
    matrix = told["matrix"]
    reasons = sorted({reason for row in matrix.values() for reason in row}, key=reason_order)

    def cell(reason: str, codes: list[str]) -> int:
        return sum(matrix[code].get(reason, {unit: 0})[unit] for code in codes)

    totals = [sum(cell(reason, codes) for reason in reasons) for _, codes in columns]
    rows = []
    for reason in reasons:
        counts = [cell(reason, codes) for _, codes in columns]
        rows.append(
            {
                "reason": shown(reason) or "kept",
                "meaning": meaning(reason),
                "series": FATES.index(fate_of(reason)),
                "total": sum(counts),
                "cells": [
                    {
                        "count": n,
                        "share": n / max(total, 1),
                        "flagged": any(reason in told["flagged"].get(code, {}) for code in codes),
                    }
                    for n, total, (_, codes) in zip(counts, totals, columns, strict=True)
                ],
            }
        )
    return {"unit": unit, "columns": [name for name, _ in columns], "rows": rows, "totals": totals, "all": sum(totals)}


def _samples(told: dict[str, Any], reason: str) -> dict[str, Any]:
    """The samples of a reason on the page: the first of each language, the largest one first, then the second ones."""
    found = told["samples"][reason]
    codes = sorted(found, key=lambda code: (-told["matrix"][code][reason]["documents"], code))
    ranks = max((len(some) for some in found.values()), default=0)
    rounds = [found[code][rank] for rank in range(ranks) for code in codes if rank < len(found[code])]
    documents = sum(told["matrix"][code][reason]["documents"] for code in codes)
    return {
        "reason": shown(reason) or "kept",
        "meaning": meaning(reason),
        "series": FATES.index(fate_of(reason)),
        "documents": documents,
        "samples": [_shown_sample(sample) for sample in rounds[:_SAMPLES]],
    }


def _shown_sample(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, **{name: shown(sample[name]) for name in ("text", "url", "lang", "reason")}}


def _domains(code: str, told: dict[str, Any]) -> dict[str, Any]:
    sites = told["sites"][code]
    kept = told["matrix"][code][""]
    rows = [
        {"site": shown(site) or "no address", "characters": n, "documents": m, "share": n / max(kept["characters"], 1)}
        for site, n, m in sites["most"]
    ]
    return {"language": shown(code) or "none", "known": sites["known"], "slack": sites["slack"], "rows": rows}
