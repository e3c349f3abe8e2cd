"""What a reader of a crawl's report must not miss, in sentences."""

from __future__ import annotations

from typing import Any

from ulmfit_dist.crawl.language import MULTIPLE, UNDETERMINED
from ulmfit_dist.report.shown import shown

# Howard and Ruder 2018 train on 103 million words; Thai from 40 million is the least that we know to be published. With
# a tenth of the former a model learns its language poorly, with a hundredth hardly.
ENOUGH_TOKENS, LITTLE_TOKENS = 10_000_000, 1_000_000
_ONE_SITE = 0.5
_MIN_DOCUMENTS = 20
_MANY_UNKNOWN = 0.25
_NAMED = 12


def crawl_warnings(told: dict[str, Any]) -> list[str]:
    """Return the warnings of a report (`crawl.crawl_report`), the gravest first."""
    return [*_rules(told), *_little_text(told), *_untrained(told), *_one_site(told), *_unknown(told), *_lost(told)]


def is_language(code: str) -> bool:
    """Whether a code stands for a language."""
    return code not in ("", UNDETERMINED, MULTIPLE)


def _rules(told: dict[str, Any]) -> list[str]:
    return [
        f"The rule {rule} drops {100 * share:.0f} % of the documents in {shown(code)} that rules judge: its value is "
        "likely wrong for this language. Look at the samples, then change it under crawl.thresholds."
        for code, rules in sorted(told["flagged"].items())
        for rule, share in rules.items()
    ]


def _little_text(told: dict[str, Any]) -> list[str]:
    tokens = {code: row["tokens"] for code, row in told["available"].items() if is_language(code)}
    tiny = sorted((code for code in tokens if tokens[code] < LITTLE_TOKENS), key=lambda code: (-tokens[code], code))
    few = [code for code in sorted(tokens) if LITTLE_TOKENS <= tokens[code] < ENOUGH_TOKENS]
    out = []
    if tiny:
        out.append(
            f"Too little text for a language model (under {LITTLE_TOKENS // 10**6} million tokens): {_names(tiny)}."
        )
    if few:
        out.append(f"Little text for a language model (under {ENOUGH_TOKENS // 10**6} million tokens): {_names(few)}.")
    return out


def _untrained(told: dict[str, Any]) -> list[str]:
    rows = told["available"]
    codes = [code for code in sorted(rows) if is_language(code) and not rows[code]["train_tokens"]]
    if not told["train"] or not codes:
        return []
    do = 'all of their sites fell in other splits. Give more sites, or set crawl.split_by = "text"'
    return [f"Nothing to train on: {_names(codes)}: {do}."]


def _one_site(told: dict[str, Any]) -> list[str]:
    out = []
    for code, sites in sorted(told["sites"].items()):
        kept = told["matrix"][code][""]
        site, characters, _ = sites["most"][0]
        if site and is_language(code) and kept["documents"] >= _MIN_DOCUMENTS:
            share = characters / max(kept["characters"], 1)
            if share > _ONE_SITE:
                out.append(
                    f"{100 * share:.0f} % of the text in {shown(code)} is of one site, {shown(site)}: a language model "
                    "of it learns that site."
                )
    return out


def _unknown(told: dict[str, Any]) -> list[str]:
    looked_at = {code: sum(cell["documents"] for cell in row.values()) for code, row in told["matrix"].items() if code}
    total = sum(looked_at.values())
    unknown = looked_at.get(UNDETERMINED, 0)
    if unknown <= _MANY_UNKNOWN * total:
        return []
    sentence = (
        f"Of {100 * unknown / total:.0f} % of the documents no language could be told: read the samples of "
        "'undetermined' (a language that the detectors do not know, or pages that are hardly text)."
    )
    return [sentence]


def _lost(told: dict[str, Any]) -> list[str]:
    lost = told["quarantined"]
    if not lost:
        return []
    reasons = ", ".join(f"{count:,} {shown(reason)}" for reason, count in sorted(lost.items()))
    return [f"Records set aside in quarantine.jsonl: {reasons}."]


def _names(codes: list[str]) -> str:
    names = [shown(code) for code in codes]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
