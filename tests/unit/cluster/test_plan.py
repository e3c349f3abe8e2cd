"""Plans: a changed setting moves exactly the stages that depend on it."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from ulmfit_dist.cluster import plan as plan_module
from ulmfit_dist.cluster.plan import Output, Plan, PlannedStage, SourceDigests, StageSpec, make_plan
from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.locations import RemotePath
from ulmfit_dist.crawl.settings import IngestSettings, Source, source_inputs
from ulmfit_dist.errors import InputError, RecipeError
from ulmfit_dist.stage import StageCall, StageKind, Summary
from ulmfit_dist.stages import STAGES


class Number(Settings):
    value: int = 0


def _nothing(_: StageCall[Number]) -> Summary:
    return {}


KINDS = {"k": StageKind("k", 1, _nothing)}
#   source -> a -> b -> d
#              \-> c -/      e stands alone
EDGES = {"a": ["source"], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}


def _plan(tmp_path: Path, values: dict[str, int] | None = None) -> Plan:
    source = tmp_path / "source.txt"
    specs = [
        StageSpec(
            name,
            "k",
            Number(value=(values or {}).get(name, 0)),
            {u: source if u == "source" else Output(u) for u in upstream},
        )
        for name, upstream in reversed(EDGES.items())  # the order of specs must not matter
    ]
    return make_plan(specs, KINDS, tmp_path / "run", SourceDigests(None))


@pytest.fixture(autouse=True)
def _source(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("text")


@pytest.mark.parametrize(("changed", "moved"), [("a", "abcd"), ("b", "bd"), ("c", "cd"), ("d", "d"), ("e", "e")])
def test_a_setting_moves_exactly_its_dependents(tmp_path: Path, changed: str, moved: str) -> None:
    before, after = _plan(tmp_path), _plan(tmp_path, {changed: 1})
    assert {n for n in EDGES if before.stages[n].folder != after.stages[n].folder} == set(moved)


def test_changed_source_content_moves_what_reads_it(tmp_path: Path) -> None:
    before = _plan(tmp_path)
    (tmp_path / "source.txt").write_text("other")
    after = _plan(tmp_path)
    assert {n for n in EDGES if before.stages[n].fingerprint != after.stages[n].fingerprint} == set("abcd")


def test_each_stage_comes_after_what_it_reads(tmp_path: Path) -> None:
    order = list(_plan(tmp_path).stages)
    assert sorted(order) == sorted(EDGES)
    for name, upstream in EDGES.items():
        assert all(order.index(one) < order.index(name) for one in upstream if one in EDGES)


def test_two_stages_of_one_name_are_refused(tmp_path: Path) -> None:
    specs = [StageSpec("x", "k", Number(value=value), {}) for value in (1, 2)]
    with pytest.raises(RecipeError, match="two stages have one name.*x"):
        make_plan(specs, KINDS, tmp_path, SourceDigests(None))


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    specs = [StageSpec("x", "k", Number(), {"y": Output("y")}), StageSpec("y", "k", Number(), {"x": Output("x")})]
    with pytest.raises(RecipeError, match="x, y wait"):
        make_plan(specs, KINDS, tmp_path, SourceDigests(None))


def test_source_digests_are_cached_by_size_and_time(tmp_path: Path) -> None:
    digests = SourceDigests(tmp_path)
    first = digests.digest(tmp_path / "source.txt")
    digests.save()
    again = SourceDigests(tmp_path)
    assert again.digest(tmp_path / "source.txt") == first
    (tmp_path / "source.txt").write_text("longer than before")
    assert again.digest(tmp_path / "source.txt") != first


def _remote(tmp_path: Path, url: str) -> PlannedStage:
    settings = IngestSettings(sources=[Source(path=url)])
    spec = StageSpec("read", "ingest", settings, source_inputs(settings, tmp_path))
    digests = SourceDigests(tmp_path)
    plan = make_plan([spec], STAGES, tmp_path, digests)
    digests.save()
    return plan.stages["read"]


def test_a_url_counts_by_its_content_and_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    system.pipe({"/plan/a.csv": b"text\none\n", "/plan/b/a.csv": b"text\none\n"})
    first = _remote(tmp_path, "memory://plan/a.csv")
    assert (first.inputs, first.sources) == ({}, [RemotePath("memory://plan/a.csv")])
    assert _remote(tmp_path, "memory://plan/b/a.csv").fingerprint == first.fingerprint
    local = tmp_path / "a.csv"
    local.write_bytes(b"text\none\n")
    assert _remote(tmp_path, str(local)).fingerprint == first.fingerprint
    reads: list[RemotePath] = []
    monkeypatch.setattr(plan_module, "digest_remote", lambda location: reads.append(location) or "0" * 32)
    assert _remote(tmp_path, "memory://plan/a.csv").fingerprint == first.fingerprint
    assert reads == []
    system.pipe({"/plan/a.csv": b"text\ntwo\n"})
    assert _remote(tmp_path, "memory://plan/a.csv").fingerprint != first.fingerprint
    assert len(reads) == 1


def test_a_folder_of_urls_counts_as_the_folder_of_files(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe({"/folder/x/1.txt": b"one", "/folder/2.txt": b"two"})
    (tmp_path / "folder" / "x").mkdir(parents=True)
    (tmp_path / "folder" / "x" / "1.txt").write_text("one")
    (tmp_path / "folder" / "2.txt").write_text("two")
    digests = SourceDigests(None)
    assert digests.digest(RemotePath("memory://folder")) == digests.digest(tmp_path / "folder")


def test_a_url_that_is_gone_is_refused() -> None:
    with pytest.raises(InputError, match="cannot read memory://gone/a.csv"):
        SourceDigests(None).digest(RemotePath("memory://gone/a.csv"))
