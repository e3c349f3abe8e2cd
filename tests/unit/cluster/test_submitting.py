"""Submission without a cluster: what travels, what a job is called, and its true end through a broken connection."""

from __future__ import annotations

import tomllib
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ray.job_submission import JobDetails, JobStatus

from ulmfit_dist.cluster import submitting
from ulmfit_dist.cluster.recipe import Recipe, load_run_recipe
from ulmfit_dist.cluster.submitting import Submission, exit_code, follow, packed, submit, submit_and_follow
from ulmfit_dist.errors import InputError, LockedError


def _job(status: JobStatus, code: int | None = None, error: str | None = None, name: str = "j-1") -> JobDetails:
    return JobDetails(
        type="SUBMISSION",
        submission_id=name,
        status=status,
        entrypoint="x",
        driver_exit_code=code,
        error_type=error,
    )


@pytest.mark.parametrize(
    ("status", "code", "error", "expected"),
    [
        (JobStatus.SUCCEEDED, 0, None, 0),
        (JobStatus.STOPPED, None, None, 6),
        (JobStatus.FAILED, 7, "JOB_ENTRYPOINT_COMMAND_ERROR", 7),
        (JobStatus.FAILED, -9, "JOB_ENTRYPOINT_COMMAND_ERROR", 137),
        (JobStatus.FAILED, None, "JOB_SUPERVISOR_ACTOR_DIED", 5),
        (JobStatus.FAILED, None, "RUNTIME_ENV_SETUP_FAILURE", 1),
    ],
)
def test_each_end_has_its_exit_code(status: JobStatus, code: int | None, error: str | None, expected: int) -> None:
    assert exit_code(_job(status, code, error)) == expected


def test_the_name_says_recipe_and_run_directory() -> None:
    base = Submission(Recipe(name="a"), Path("/shared/run"))
    assert base.name == Submission(Recipe(name="a"), Path("/shared/run"), "installed", 3).name
    others = {
        Submission(Recipe(name="a"), Path("/shared/other")).name,
        Submission(Recipe(name="a", seed=2), Path("/shared/run")).name,
        Submission(Recipe(name="b"), Path("/shared/run")).name,
    }
    assert len(others | {base.name}) == 4
    assert base.name.startswith("ulmfit-a-")


def test_code_and_recipe_travel_and_data_does_not(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('unit = "word"\nlanguage = "en"\n')
    (tmp_path / "text.csv").write_text("text\n")
    source = tmp_path / "recipe.toml"
    source.write_text('name = "r"\n[corpus]\nsources = ["text.csv"]\n')
    recipe = load_run_recipe(source, [f"tokenizers.word.recipe={own}"])
    with packed(Submission(recipe, tmp_path / "run")) as folder:
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        values = tomllib.loads((folder / "recipe.toml").read_text())
        assert (folder / "tokenizer-word.toml").read_bytes() == own.read_bytes()
    assert {"ulmfit_dist/cluster/coordinator.py", "ulmfit_dist/cluster/watch.html", "launch/quickstart.toml"} <= names
    assert "tokenizers/en/word_60k.toml" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("launch/data") or ".csv" in name]
    assert values["corpus"]["sources"] == [str(tmp_path / "text.csv")]
    assert values["tokenizers"]["word"]["recipe"] == "tokenizer-word.toml"
    assert not folder.exists()


def test_a_wheel_travels_instead_and_what_is_none_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "ulmfit_dist-9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ulmfit_dist/__init__.py", "x = 9")
    with packed(Submission(Recipe(), tmp_path, str(wheel))) as folder:
        assert (folder / "ulmfit_dist" / "__init__.py").read_text() == "x = 9"
        assert not (folder / "tokenizers").exists()
    with packed(Submission(Recipe(), tmp_path, "installed")) as folder:
        assert [path.name for path in folder.iterdir()] == ["recipe.toml"]
    (tmp_path / "torn.whl").write_bytes(wheel.read_bytes()[:40])
    for bad in ("torn.whl", "nowhere.whl"):
        with (
            pytest.raises(InputError, match="is no wheel"),
            packed(Submission(Recipe(), tmp_path, f"{tmp_path}/{bad}")),
        ):
            pass


class Client:
    """A job server whose log connection breaks after some characters, and which may forget or fall silent."""

    def __init__(self, log: str, ends: list[JobDetails | Exception], breaks: int = 1000) -> None:
        self.log, self.ends, self.breaks = log, ends, breaks
        self.submitted: list[str] = []
        self.jobs: list[JobDetails] = []

    def list_jobs(self) -> list[JobDetails]:
        return self.jobs

    def submit_job(self, *, entrypoint: str, submission_id: str, runtime_env: dict[str, object]) -> str:
        assert "run recipe.toml --run-dir" in entrypoint
        self.submitted.append(submission_id)
        self.jobs.append(_job(JobStatus.SUCCEEDED, 0, None, submission_id))
        return submission_id

    def get_job_info(self, name: str) -> JobDetails:
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        for start in range(0, len(self.log), 7):
            if start >= self.breaks:
                self.breaks += 20
                raise RuntimeError("WebSocket connection closed unexpectedly")
            yield self.log[start : start + 7]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "_POLL_S", 0.01)


def test_the_log_is_told_once_and_whole_though_its_connection_breaks() -> None:
    log = "".join(f"line {i}\n" for i in range(12))
    written: list[str] = []
    ends: list[JobDetails | Exception] = [_job(JobStatus.RUNNING)] * 30 + [_job(JobStatus.FAILED, 7)]
    assert follow(Client(log, ends, breaks=10), "j-1", written.append, 60.0) == 7
    assert "".join(written) == log


def test_a_cluster_out_of_reach_for_a_while_is_no_end_and_for_long_it_is_5() -> None:
    silent = ConnectionError("refused")
    ends: list[JobDetails | Exception] = [_job(JobStatus.RUNNING), silent, silent, _job(JobStatus.SUCCEEDED, 0)]
    assert follow(Client("x", ends), "j-1", lambda _: None, 60.0) == 0
    written: list[str] = []
    assert follow(Client("x", [silent]), "j-1", written.append, 0.05) == 5
    assert "j-1 is lost; found: refused; do: start the cluster again" in "".join(written)


def test_a_cluster_that_does_not_know_the_job_has_lost_it() -> None:
    forgot = RuntimeError("Request failed with status code 404: Job j-1 does not exist.")
    assert follow(Client("x", [forgot]), "j-1", lambda _: None, 60.0) == 5


def test_a_job_that_runs_is_not_doubled_and_one_that_ended_gets_the_next_number(tmp_path: Path) -> None:
    client, submission = Client("", []), Submission(Recipe(name="a"), tmp_path, "installed")
    assert submit(client, submission) == f"{submission.name}-1"
    assert submit(client, submission) == f"{submission.name}-2"
    client.jobs.append(_job(JobStatus.PENDING, name=f"{submission.name}-3"))
    with pytest.raises(LockedError, match=f"job {submission.name}-3"):
        submit(client, submission)
    assert submit(client, Submission(Recipe(name="a"), tmp_path / "other", "installed")).endswith("-1")


def test_only_what_was_lost_or_killed_is_submitted_again(tmp_path: Path) -> None:
    submission = Submission(Recipe(name="a"), tmp_path, "installed", retries=2)
    killed, done, failed = _job(JobStatus.FAILED, -9), _job(JobStatus.SUCCEEDED, 0), _job(JobStatus.FAILED, 1)
    stopped = _job(JobStatus.STOPPED)
    for ends, code, tries in (
        ([killed, done], 0, 2),
        ([killed, killed, killed], 137, 3),
        ([failed], 1, 1),
        ([stopped], 6, 1),
    ):
        client = Client("", list(ends))
        assert submit_and_follow(client, submission, lambda _: None) == code
        assert len(client.submitted) == tries
