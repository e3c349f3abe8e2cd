"""`ulmfit submit`: a recipe as a Ray job, followed to its true end.

The stock client ends with 0 for a job that was stopped or whose log was cut off, gives every failure the code 1, and
starts a second job where the connection was lost after the first submission. Here the job's own name says what it is
(recipe and run directory), so that a second one is refused, and its state is asked until it is a final one.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import requests
from ray.exceptions import RayError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from ulmfit_dist.config import data_folder
from ulmfit_dist.errors import InputError, JobLostError, LockedError
from ulmfit_dist.files import fingerprint, write_bytes

if TYPE_CHECKING:
    from ulmfit_dist.cluster.recipe import Recipe, TokenizerChoice

INSTALLED = "installed"
STOPPED_CODE, LOST_CODE = 6, 5
_RECIPE = "recipe.toml"
_DATA_FOLDERS = ("tokenizers", "launch")
_POLL_S = 1.0
_LAST_WORDS_S = 10.0
_UNREACHABLE = (requests.RequestException, aiohttp.ClientError, ConnectionError, RuntimeError, RayError)
# What Ray calls the end of a job whose supervisor or node is gone; its driver never said how it ended.
_LOST_TYPES = ("JOB_SUPERVISOR_ACTOR_DIED", "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE")


@dataclass(frozen=True)
class Submission:
    """What is submitted: a recipe, the run directory on shared storage, and the code that runs it.

    code: empty for the package that runs here, a wheel's path, or `installed` for what the nodes have.
    lost_seconds: how long the cluster may be out of reach before the job counts as lost.
    """

    recipe: Recipe
    run_dir: Path
    code: str = ""
    retries: int = 0
    lost_seconds: float = 300.0

    @property
    def name(self) -> str:
        """The job's name, before the number of the attempt: equal for equal recipe and run directory."""
        identity = fingerprint([str(self.run_dir), self.recipe.model_dump(mode="json")])
        return f"ulmfit-{self.recipe.name}-{identity[:12]}"

    @property
    def command(self) -> str:
        """What the job runs; `ray job submit` sets RAY_ADDRESS."""
        return shlex.join(["python", "-m", "ulmfit_dist", "run", _RECIPE, "--run-dir", str(self.run_dir)])


def jobs_client(url: str) -> JobSubmissionClient:
    """Connect to a cluster's job server. Raises InputError when it does not answer or wants another token."""
    # It says on stderr what the errors here say better, and each connection of the log.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        return JobSubmissionClient(url)
    except _UNREACHABLE as error:
        do = "check --jobs-url, a tunnel to the head (ssh -L 8265:localhost:8265), and RAY_AUTH_TOKEN_PATH"
        found = str(error).strip().partition("\n")[0]
        raise InputError(f"no Ray job server at {url}", found=found, do=do) from error


def submit(client: JobSubmissionClient, submission: Submission) -> str:
    """Start the job; return its id. Raises LockedError when it runs already, InputError for code that is no wheel."""
    before = [job for job in client.list_jobs() if (job.submission_id or "").startswith(f"{submission.name}-")]
    for job in before:
        if not job.status.is_terminal():
            raise _runs_already(str(job.submission_id))
    name = f"{submission.name}-{1 + max((_attempt(job) for job in before), default=0)}"
    with packed(submission) as folder:
        runtime = {"working_dir": str(folder), "env_vars": {"PYTHONUNBUFFERED": "1"}}
        try:
            return str(client.submit_job(entrypoint=submission.command, submission_id=name, runtime_env=runtime))
        except RuntimeError as error:
            if "already exists" in str(error):  # another client was faster
                raise _runs_already(name) from error
            raise


def submit_and_follow(client: JobSubmissionClient, submission: Submission, write: Callable[[str], None]) -> int:
    """Submit, copy the job's log to `write`, and return its exit code.

    0 succeeded, 6 stopped, 5 lost, else the command's own. A job that was lost or killed is submitted again, at most
    `retries` times; one that ended by itself with an error would end so again.
    """
    for attempt in range(submission.retries + 1):
        name = submit(client, submission)
        write(f"job {name}\n")
        code = follow(client, name, write, submission.lost_seconds)
        if not _was_killed(code) or attempt == submission.retries:
            return code
        write(f"job {name} was lost or killed (exit code {code}); submitting it again\n")
    raise AssertionError("the loop returns")


def follow(client: JobSubmissionClient, name: str, write: Callable[[str], None], lost_seconds: float) -> int:
    """Copy a job's log to `write` until the job ends; return its exit code."""
    try:
        details = asyncio.run(_Follower(client, name, write).follow(lost_seconds))
    except JobLostError as error:
        write(f"{error}\n")
        return LOST_CODE
    if details.status != JobStatus.SUCCEEDED and details.driver_exit_code is None:
        write(f"{details.message or details.status}\n")
    return exit_code(details)


def exit_code(details: JobDetails) -> int:
    """Return the exit code of a job that has ended."""
    if details.status == JobStatus.SUCCEEDED:
        return 0
    if details.status == JobStatus.STOPPED:
        return STOPPED_CODE
    code = details.driver_exit_code
    if code is None:
        return LOST_CODE if details.error_type in _LOST_TYPES else 1
    return int(code) if code > 0 else 128 - int(code)


@contextmanager
def packed(submission: Submission) -> Iterator[Path]:
    """Give a folder with what travels: the resolved recipe and the code; no data, no runs.

    Raises InputError when `code` is neither empty, `installed` nor a wheel.
    """
    with tempfile.TemporaryDirectory(prefix="ulmfit-submit-") as name:
        folder = Path(name)
        if not submission.code:
            _pack_tree(folder)
        elif submission.code != INSTALLED:
            _pack_wheel(Path(submission.code), folder)
        write_bytes(folder / _RECIPE, _with_tokenizer_files(submission.recipe, folder).toml())
        yield folder


def _pack_tree(folder: Path) -> None:
    package = Path(__file__).resolve().parents[1]
    leave_out = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _DATA_FOLDERS:
        if not data_folder(name).is_relative_to(package):
            shutil.copytree(data_folder(name), folder / name, ignore=leave_out)


def _pack_wheel(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    except (OSError, zipfile.BadZipFile) as error:
        do = "give a wheel of ulmfit-dist, or `installed`"
        raise InputError(f"{wheel} is no wheel", found=str(error), do=do) from error
    if not (folder / "ulmfit_dist").is_dir():
        raise InputError(f"{wheel} is another wheel", found="no ulmfit_dist in it", do="give one of ulmfit-dist")


def _with_tokenizer_files(recipe: Recipe, folder: Path) -> Recipe:
    """Take along the tokenizer recipes that are files of this machine; the shipped ones go by name."""
    changed: dict[str, TokenizerChoice] = {}
    for unit in recipe.units:
        choice = getattr(recipe.tokenizers, unit)
        source = Path(choice.recipe)
        if source.suffix == ".toml" and source.is_file():
            target = f"tokenizer-{unit}.toml"
            shutil.copyfile(source, folder / target)
            changed[unit] = choice.model_copy(update={"recipe": target})
    return recipe.model_copy(update={"tokenizers": recipe.tokenizers.model_copy(update=changed)})


class _Follower:
    """Copies a job's log, through lost connections, while its state is asked."""

    def __init__(self, client: JobSubmissionClient, name: str, write: Callable[[str], None]) -> None:
        self._client, self._name, self._write = client, name, write
        self._written = 0
        self._ended = False

    async def follow(self, lost_seconds: float) -> JobDetails:
        tail = asyncio.create_task(self._tail())
        try:
            details = await self._end(lost_seconds)
            self._ended = True
            await asyncio.wait({tail}, timeout=_LAST_WORDS_S)
            return details
        finally:
            tail.cancel()

    async def _end(self, lost_seconds: float) -> JobDetails:
        heard = time.monotonic()
        while True:
            try:
                details = await asyncio.to_thread(self._client.get_job_info, self._name)
                heard = time.monotonic()
                if details.status.is_terminal():
                    return details
            except _UNREACHABLE as error:
                forgotten = "status code 404" in str(error)  # another cluster, or a head that lost its memory
                if forgotten or time.monotonic() - heard > lost_seconds:
                    raise JobLostError(
                        f"job {self._name} is lost",
                        found=str(error).strip().partition("\n")[0],
                        do="start the cluster again and submit the same: finished stages are kept",
                    ) from error
            await asyncio.sleep(_POLL_S)

    async def _tail(self) -> None:
        while True:
            last, seen = self._ended, 0
            try:
                # Each connection tells the log from its beginning.
                async for text in self._client.tail_job_logs(self._name):
                    seen += len(text)
                    if seen > self._written:
                        self._write(text[self._written - seen :])
                        self._written = seen
            except _UNREACHABLE:
                pass
            if last:
                return
            await asyncio.sleep(_POLL_S)


def _attempt(job: JobDetails) -> int:
    number = (job.submission_id or "").rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _was_killed(code: int) -> bool:
    """Whether a job ended by no will of its own: lost, or by a signal that is no request to stop."""
    return code == LOST_CODE or code in (128 + 9, 128 + 11, 128 + 6, 128 + 7)


def _runs_already(name: str) -> LockedError:
    do = f"follow it with: ray job logs --follow {name}; or stop it: ray job stop {name}"
    return LockedError("this recipe runs already in this run directory", found=f"job {name}", do=do)
