"""The plan of a run: a directed acyclic graph of stages keyed by fingerprint.

A stage's fingerprint covers its settings and everything upstream, so its folder name says what is in it: a changed
setting gives new folders to exactly the stages that depend on it, and finished ones are found again by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.locations import Location, RemotePath, digest_remote, remote_validator
from ulmfit_dist.errors import InputError, RecipeError
from ulmfit_dist.files import digest_file, fingerprint, read_json, write_json
from ulmfit_dist.stage import LABEL_MARK, StageKind, is_done, stage_fingerprint

STAGES_FOLDER = "stages"
PLAN_NAME = "plan.json"
_DIGESTS_NAME = "source-digests.json"


@dataclass(frozen=True)
class Output:
    """An input that another stage makes: its folder, or a path inside it."""

    stage: str
    path: str = ""


@dataclass(frozen=True)
class StageSpec:
    """A stage as the recipe asks for it.

    cpus, gpus: what the ledger reserves while it runs, its own workers' included.
    """

    name: str
    kind: str
    settings: Settings
    inputs: Mapping[str, Output | Location]
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its identity, its folder and its resolved inputs.

    `remote`: inputs that are URLs. The stage takes them from its settings; here they are part of its identity.
    """

    spec: StageSpec
    fingerprint: str
    folder: Path
    inputs: Mapping[str, Path]
    upstream: tuple[str, ...]
    remote: Mapping[str, RemotePath]

    @property
    def sources(self) -> list[Location]:
        """What the stage reads, URLs included."""
        return [*self.inputs.values(), *self.remote.values()]

    @property
    def name(self) -> str:
        """The stage's name in the recipe's plan."""
        return self.spec.name

    def done(self) -> bool:
        """Whether the folder holds this stage's finished result."""
        return is_done(self.folder, self.fingerprint)


class SourceDigests:
    """xxh3_128 of source files and folders, cached in the run directory when there is one.

    The cache's key is (path, size, mtime_ns), of a URL (URL, size, ETag or date); one without a mark is read each time.
    """

    def __init__(self, run_dir: Path | None) -> None:
        self._path = run_dir / _DIGESTS_NAME if run_dir else None
        self._known: dict[str, list[Any]] = read_json(self._path) if self._path and self._path.exists() else {}

    def digest(self, source: Location) -> str:
        """Return the digest of a file's content, or of a folder's names and contents.

        Raises InputError for a URL that cannot be read.
        """
        if isinstance(source, RemotePath):
            try:
                return self._remote_digest(source)
            except OSError as error:
                do = "check the URL, the connection and the rights"
                raise InputError(f"cannot read {source}", found=str(error), do=do) from error
        if source.is_dir():
            inside = sorted(path for path in source.rglob("*") if path.is_file())
            return fingerprint([[str(path.relative_to(source)), self.digest(path)] for path in inside])
        stat, key = source.stat(), str(source.resolve())
        known = self._known.get(key)
        if known is None or known[:2] != [stat.st_size, stat.st_mtime_ns]:
            known = self._known[key] = [stat.st_size, stat.st_mtime_ns, digest_file(source)]
        return str(known[2])

    def _remote_digest(self, source: RemotePath) -> str:
        if source.is_dir():
            return fingerprint([[inside, self._remote_digest(file)] for inside, file in source.files()])
        mark = remote_validator(source)
        known = self._known.get(source.url)
        if known is None or mark is None or known[:2] != mark:
            known = self._known[source.url] = [*(mark or [None, None]), digest_remote(source)]
        return str(known[2])

    def save(self) -> None:
        """Keep what was computed for the next run."""
        assert self._path is not None
        write_json(self._path, self._known)


class Plan:
    """Stages in an order in which each comes after its inputs."""

    def __init__(self, stages: Sequence[PlannedStage]) -> None:
        self.stages = {stage.name: stage for stage in stages}

    def save(self, run_dir: Path) -> None:
        """Write plan.json, from which the report knows which folders belong to this run."""
        rows = [
            {
                "name": stage.name,
                "kind": stage.spec.kind,
                "fingerprint": stage.fingerprint,
                "folder": str(stage.folder.relative_to(run_dir)),
                "inputs": {name: str(path) for name, path in stage.inputs.items()},
                "upstream": list(stage.upstream),
            }
            for stage in self.stages.values()
        ]
        write_json(run_dir / PLAN_NAME, {"stages": rows})


def make_plan(
    specs: Sequence[StageSpec], kinds: Mapping[str, StageKind[Any]], run_dir: Path, digests: SourceDigests
) -> Plan:
    """Give each stage its fingerprint and folder. Raises RecipeError for a cycle or an input that no stage makes."""
    planned: dict[str, PlannedStage] = {}
    for spec in _in_order(specs):
        identities: dict[str, str] = {}
        paths: dict[str, Path] = {}
        remote: dict[str, RemotePath] = {}
        for name, source in spec.inputs.items():
            if isinstance(source, Output):
                identities[name] = f"{planned[source.stage].fingerprint}/{source.path}"
                paths[name] = planned[source.stage].folder / source.path
                continue
            identities[name] = digests.digest(source)
            if isinstance(source, RemotePath):
                remote[name] = source
            else:
                paths[name] = source.resolve()
        identity = stage_fingerprint(kinds[spec.kind], spec.settings, identities)
        # Without the label of its runs: in a sweep with another value the same stage has another one, and is done.
        folder = run_dir / STAGES_FOLDER / f"{spec.name.partition(LABEL_MARK)[0]}-{identity[:8]}"
        planned[spec.name] = PlannedStage(spec, identity, folder, paths, _upstream(spec), remote)
    return Plan(list(planned.values()))


def _upstream(spec: StageSpec) -> tuple[str, ...]:
    return tuple(sorted({source.stage for source in spec.inputs.values() if isinstance(source, Output)}))


def _in_order(specs: Sequence[StageSpec]) -> list[StageSpec]:
    """Return the stages, each after those that it reads, else in the order given."""
    waits = {spec.name: len(_upstream(spec)) for spec in specs}
    if len(waits) < len(specs):
        twice = sorted(name for name, count in Counter(spec.name for spec in specs).items() if count > 1)
        raise RecipeError("two stages have one name", found=", ".join(twice), do="mend the recipe")
    children: dict[str, list[StageSpec]] = {}
    for spec in specs:
        for name in _upstream(spec):
            children.setdefault(name, []).append(spec)
    ordered = [spec for spec in specs if not waits[spec.name]]
    for spec in ordered:  # it grows while it is read
        for child in children.get(spec.name, ()):
            waits[child.name] -= 1
            if not waits[child.name]:
                ordered.append(child)
    if len(ordered) < len(specs):
        stuck = sorted(name for name, count in waits.items() if count)
        raise RecipeError(
            "the stages cannot be put in order",
            found=f"{', '.join(stuck)} wait for each other or for a stage that is not there",
            do="mend the recipe",
        )
    return ordered
