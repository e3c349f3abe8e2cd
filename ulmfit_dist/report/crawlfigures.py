"""The pictures of a crawl's report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ulmfit_dist.crawl.language import MULTIPLE, UNDETERMINED
from ulmfit_dist.report.crawlreasons import FATES, fate_of
from ulmfit_dist.report.crawlscan import SCORE_BINS
from ulmfit_dist.report.crawlwarnings import is_language
from ulmfit_dist.report.figures import Axes, histogram_chart, range_chart, share_chart
from ulmfit_dist.report.shown import shown

if TYPE_CHECKING:
    from markupsafe import Markup

_ROWS = 20


def figures(told: dict[str, Any], name: str) -> dict[str, Markup]:
    """Return the pictures of a report (`crawl.crawl_report`) that there is something for, by what they show.

    name: of the crawl; it keeps the ids of several crawls on one page apart.
    """
    key = f"crawl-{re.sub('[^a-z0-9]+', '-', name.lower())}"
    drawn = {
        "fates": _fates(told, f"{key}-fates"),
        "lengths": _lengths(told, f"{key}-lengths"),
        "scores": _scores(told, f"{key}-scores"),
        "clusters": _clusters(told, f"{key}-clusters"),
    }
    return {what: figure for what, figure in drawn.items() if figure is not None}


def _fates(told: dict[str, Any], key: str) -> Markup | None:
    totals = {code: sum(cell["documents"] for cell in row.values()) for code, row in told["matrix"].items()}
    codes = [code for code in sorted(totals, key=lambda code: (-totals[code], code)) if totals[code]][:_ROWS]
    if not codes:
        return None
    parts = []
    for fate in FATES:
        counts = [
            sum(cell["documents"] for reason, cell in told["matrix"][code].items() if fate_of(reason) == fate)
            for code in codes
        ]
        parts.append((fate, [100 * count / totals[code] for count, code in zip(counts, codes, strict=True)]))
    axes = Axes(key, "What became of the documents", "% of the documents", "language")
    return share_chart(axes, [f"{shown(code) or 'none'}  {totals[code]:,}" for code in codes], parts)


def _lengths(told: dict[str, Any], key: str) -> Markup | None:
    lengths = told["lengths"]
    kept = {code: told["matrix"][code][""]["documents"] for code in lengths}
    codes = sorted(lengths, key=lambda code: (-kept[code], code))[:_ROWS]
    axes = Axes(key, "Lengths of kept documents", "characters", "language")
    return range_chart(axes, [(shown(code) or "none", lengths[code]) for code in codes]) if codes else None


def _scores(told: dict[str, Any], key: str) -> Markup | None:
    scores = told["scores"]
    if not scores:
        return None
    edges = [place / SCORE_BINS for place in range(SCORE_BINS + 1)]
    groups = [
        ("a language", [code for code in scores if is_language(code)]),
        ("several (multi)", [code for code in scores if code == MULTIPLE]),
        ("none told (und)", [code for code in scores if code == UNDETERMINED]),
    ]
    parts = [(name, [sum(scores[code][i] for code in codes) for i in range(SCORE_BINS)]) for name, codes in groups]
    axes = Axes(key, "Scores of the language", "probability by the detector", "documents")
    return histogram_chart(axes, edges, [part for part in parts if any(part[1])])


def _clusters(told: dict[str, Any], key: str) -> Markup | None:
    sizes = {int(size): count for size, count in told["cluster_sizes"].items()}
    if not sizes:
        return None
    # Bins of powers of two: most are pairs, and a few are whole sites.
    powers = range(1, max(sizes).bit_length() + 1)
    counts = [sum(n for size, n in sizes.items() if size.bit_length() == power + 1) for power in powers]
    last = max(place for place, count in enumerate(counts) if count)
    names = [f"{2**power} to {2 ** (power + 1) - 1}" for power in powers][: last + 1]
    axes = Axes(key, "Sizes of clusters", "clusters", "documents in a cluster")
    return share_chart(axes, names, [("", [float(count) for count in counts[: last + 1]])])
