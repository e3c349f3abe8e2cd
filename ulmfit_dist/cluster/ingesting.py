"""The ingest stage on the pool: pieces of the sources are read, and parts of the documents written, by several actors.

What is done and in which order is crawl/ingest.py's; here it is decided where. Sources that make a single piece are
read in this process: starting actors takes longer than reading them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ray

from ulmfit_dist.cluster.pool import Limits, SetAside, map_items
from ulmfit_dist.cluster.session import Where, ray_session
from ulmfit_dist.crawl.candidates import Guard
from ulmfit_dist.crawl.ingest import Item, MakeWork, Run, ingest, run_here
from ulmfit_dist.crawl.pieces import PIECE_BYTES, Piece, busy_workers
from ulmfit_dist.crawl.settings import IngestSettings, source_locations
from ulmfit_dist.events import Reporter
from ulmfit_dist.stage import StageCall, Summary

# A file that cannot be cut is one piece, whatever its size (at 5 MB/s a day is 400 GB), and a crawl that lies at a URL
# is fetched before its first document.
_LIMITS = Limits(item_seconds=86_400.0, document_seconds=3600.0)


def ingest_on_pool(call: StageCall[IngestSettings]) -> Summary:
    """Stage: `crawl.ingest.ingest` with up to `settings.workers` actors, in the Ray that is there or one of its own."""
    workers = busy_workers(source_locations(call.settings, call.inputs), call.settings.workers)
    if workers == 1:
        return ingest(call)
    with contextlib.ExitStack() as session:
        return ingest(call, _run_on_pool(workers, call.reporter, session))


def _run_on_pool(workers: int, reporter: Reporter, session: contextlib.ExitStack) -> Run:
    here = run_here(reporter)

    def retried(item: Item, reason: str) -> None:
        reporter.event("item-retried", item=item.index, reason=reason)

    def run(make: MakeWork, items: Sequence[Item], what: str) -> dict[int, str]:
        total, done, lost = sum(item.size for item in items), 0, dict[int, str]()
        if len(items) <= 1 or sum(item.work if isinstance(item, Piece) else item.size for item in items) < PIECE_BYTES:
            return here(make, items, what)
        if not ray.is_initialized():
            session.enter_context(ray_session(Where.choose(None)))
        for outcome in map_items(partial(_make_silent, make), items, workers, retried, _LIMITS):
            if isinstance(outcome, SetAside):
                reporter.event("item-quarantined", item=outcome.item.index, reason=outcome.reason)
                lost[outcome.item.index] = outcome.reason
            done += outcome.item.size
            reporter.progress(done, total, what=what)
        return lost

    return run


def _make_silent(make: MakeWork) -> Callable[[Any, Guard], None]:
    """The work in an actor: how far it is within an item is known to nobody else."""
    return make(lambda _: None)
