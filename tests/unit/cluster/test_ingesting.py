"""Where an ingest runs: small sources in this process, larger ones on as many actors as they keep busy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.cluster import ingesting as ingesting_module
from ulmfit_dist.cluster.ingesting import ingest_on_pool
from ulmfit_dist.cluster.pool import SetAside
from ulmfit_dist.crawl import pieces as pieces_module
from ulmfit_dist.crawl.candidates import Unguarded
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.errors import DataError
from ulmfit_dist.events import EventLog, read_events
from ulmfit_dist.stage import StageCall


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageCall[IngestSettings]:
    """An ingest of eleven pieces on a pool that is none: the items are done here, the third first try is set aside."""
    for module in (pieces_module, ingesting_module):
        monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(600)))
    settings = IngestSettings(sources=[str(tmp_path / "a.jsonl")], quarantine_share=0.5, item_characters=500)
    return StageCall(settings, {}, tmp_path / "out", EventLog(tmp_path / "out" / "events.jsonl"))


def _fake_pool(lost: dict[str, int]) -> Callable[..., Iterator[Any]]:
    def map_items(make: Any, items: Sequence[Any], *_: Any) -> Iterator[Any]:
        work = make()
        for item in reversed(items):
            kind = type(item).__name__
            if lost.get(kind) == item.index:
                yield SetAside(item, "the worker process died")
                continue
            work(item, Unguarded())
            yield type("Done", (), {"item": item})

    return map_items


@pytest.mark.parametrize("lost", [None, "Piece", "Part", "CountItem"])
def test_what_the_pool_gives_up(
    call: StageCall[IngestSettings], monkeypatch: pytest.MonkeyPatch, lost: str | None
) -> None:
    monkeypatch.setattr(ingesting_module.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ingesting_module, "map_items", _fake_pool({lost: 2} if lost else {}))
    if lost in ("Part", "CountItem"):
        with pytest.raises(DataError, match=r"cannot be (written|counted).*the worker process died"):
            ingest_on_pool(call)
        return
    summary = ingest_on_pool(call)
    assert summary["quarantined"] == ({"reading failed: the worker process died": 1} if lost else {})
    events = read_events(call.out / "events.jsonl")
    assert [event["item"] for event in events if event["kind"] == "item-quarantined"] == ([2] if lost else [])
    last = [event for event in events if event["kind"] == "progress"][-1]
    assert (last["what"], last["done"]) == ("write", last["total"])
