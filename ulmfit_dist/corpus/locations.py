"""Where a source lies: a local path, or a URL of any protocol that fsspec knows (`s3://`, `https://`, `memory://`).

Local paths stay `Path`; a `file://` URL becomes one. Any other URL is a `RemotePath`, which no system call takes.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

import fsspec
import xxhash

from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

# A scheme, or a chain of them such as simplecache::s3://; one letter is a drive of Windows.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_HTTP = ("http", "https")
_BLOCK = 1 << 20
READ_TRIES = 3
RETRY_WAIT_S = 1.0
# aiohttp ends a whole download after 300 s by default, whatever its size; a silent server is given up after 60 s.
_CONNECT_S, _SILENCE_S = 30, 60
# What file systems call the mark that changes with the content.
_VALIDATORS = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "mtime", "updated", "created")


@dataclass(frozen=True)
class RemotePath:
    """A URL as a source. Methods raise OSError for what cannot be reached; `locate` has checked the protocol."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def parts(self) -> tuple[str, ...]:
        """The scheme, the host or bucket, and the folders: what tells two URLs apart, without query and fragment."""
        split = urlsplit(self.url)
        web = split.scheme in _HTTP
        path = unquote(split.path) if web else self.url.partition("://")[2].partition("/")[2]
        return (f"{split.scheme}:", split.netloc, *(part for part in path.split("/") if part))

    @property
    def name(self) -> str:
        """The last part, which stands for the source in document ids."""
        return self.parts[-1]

    @property
    def suffixes(self) -> list[str]:
        """The extensions of the name, as of a Path."""
        return PurePosixPath(self.name).suffixes

    def info(self) -> dict[str, Any]:
        """What the file system knows of it: `size` (None where unknown), `type`, and perhaps a validator."""
        system, path = self._system()
        with _as_os_error(self.url):
            return dict(system.info(path))

    def is_dir(self) -> bool:
        """Whether it is a folder; over HTTP every URL is a file."""
        return not self._is_web() and bool(self.info().get("type") == "directory")

    def files(self) -> list[tuple[str, RemotePath]]:
        """The files below a folder: (path inside it, URL), sorted by the first."""
        system, path = self._system()
        with _as_os_error(self.url):
            root = str(system.info(path)["name"]).rstrip("/")
            found = [str(name) for name in system.find(path)]
        return sorted((name[len(root) :].lstrip("/"), RemotePath(system.unstrip_protocol(name))) for name in found)

    def sibling(self, name: str) -> RemotePath:
        """Another file of the same folder."""
        return RemotePath(urlsplit(self.url)._replace(query="", fragment="").geturl().rpartition("/")[0] + f"/{name}")

    def open_at(self, start: int) -> BinaryIO:
        """Open for reading from a byte on; a connection that is lost is made again, READ_TRIES times in all."""
        return io.BufferedReader(_RemoteFile(self, start), _BLOCK)

    def can_seek(self) -> bool:
        """Whether a part can be read without what is before it; some HTTP servers send only whole files."""
        last = int(self.info().get("size") or 0) - 1
        try:
            with self.open_seekable() as file:
                return last >= 0 and file.seek(last) == last and len(file.read(1)) == 1
        except Exception:  # noqa: BLE001 - each file system and HTTP client says no in its own way
            return False

    def open_seekable(self) -> Any:
        """Open for reading here and there; for what `can_seek`."""
        system, path = self._system()
        return system.open(path, "rb")

    def open_once(self, start: int) -> Any:
        """Open at a byte without any second try; a server that cannot seek is read up to there."""
        system, path = self._system()
        if start and self.can_seek():
            file = self.open_seekable()
            file.seek(start)
            return file
        # Block size 0 is fsspec's streaming over HTTP: one request, whatever the server knows of ranges.
        file = system.open(path, "rb", **({"block_size": 0} if self._is_web() else {}))
        while start and (skipped := file.read(min(start, _BLOCK))):
            start -= len(skipped)
        return file

    def _is_web(self) -> bool:
        return urlsplit(self.url).scheme in _HTTP

    def _system(self) -> tuple[Any, str]:
        options: dict[str, Any] = {}
        if self._is_web():
            import aiohttp

            patience = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
            options["client_kwargs"] = {"timeout": patience}
        system, path = fsspec.core.url_to_fs(self.url, **options)
        return system, str(path)


Location = Path | RemotePath


class _RemoteFile(io.RawIOBase):
    """The bytes of a URL in order; every failure is an OSError, after READ_TRIES tries."""

    def __init__(self, path: RemotePath, start: int) -> None:
        self._path, self._position = path, start
        self._file = self._retried(lambda: path.open_once(start))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = self._retried(lambda: self._read(len(view)))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed and (file := getattr(self, "_file", None)) is not None:
            file.close()
        super().close()

    def _read(self, size: int) -> bytes:
        if self._file is None:
            self._file = self._path.open_once(self._position)
        try:
            return bytes(self._file.read(size))
        except Exception:
            self._file = None
            raise

    def _retried(self, attempt: Any) -> Any:
        for tried in range(1, READ_TRIES + 1):
            try:
                with _as_os_error(self._path.url):
                    return attempt()
            except FileNotFoundError:
                raise
            except OSError:
                if tried == READ_TRIES:
                    raise
                time.sleep(RETRY_WAIT_S * tried)
        return None


def is_url(text: str) -> bool:
    """Whether a source's path is a URL."""
    return _URL.match(text) is not None


def locate(text: str, base: Path = Path()) -> Location:
    """Return where a source lies: a URL as it is, a path relative to `base`.

    Raises InputError for a protocol that fsspec does not know or whose package is missing.
    """
    if not is_url(text):
        return base / text
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    protocol = re.split("://|::", text, maxsplit=1)[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        do = "install the package that it names, or copy the file here and give its path"
        raise InputError(f"cannot read {text}", found=str(error), do=do) from error
    return RemotePath(text)


def size_of(location: Location) -> int:
    """Bytes of a file; 0 where a server does not say."""
    if isinstance(location, Path):
        return location.stat().st_size
    return int(location.info().get("size") or 0)


def open_at(location: Location, start: int = 0) -> BinaryIO:
    """Open a file for reading from a byte on."""
    if isinstance(location, RemotePath):
        return location.open_at(start)
    file = location.open("rb")
    file.seek(start)
    return file


def files_in(folder: Location) -> list[tuple[str, Location]]:
    """Return (path inside the folder, location) of its files, hidden ones left out, sorted by the first."""
    if isinstance(folder, RemotePath):
        found: list[tuple[str, Location]] = list(folder.files())
    else:
        found = [(file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file()]
    shown = (pair for pair in found if not any(part.startswith(".") for part in pair[0].split("/")))
    return sorted(shown, key=lambda pair: pair[0])


def beside(location: Location, name: str) -> Location:
    """Another file of the same folder."""
    return location.sibling(name) if isinstance(location, RemotePath) else location.parent / name


@contextlib.contextmanager
def as_local_file(location: Location) -> Iterator[Path]:
    """Give a local file of the same content and name: for readers that must map it or jump about in it."""
    if isinstance(location, Path):
        yield location
        return
    with tempfile.TemporaryDirectory(prefix="ulmfit-source-") as folder:
        copy = Path(folder) / location.name
        with location.open_at(0) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, _BLOCK)
        yield copy


@contextlib.contextmanager
def seekable(location: Location) -> Iterator[Path | BinaryIO]:
    """Give what a reader can jump about in: a path, an open URL, or a copy where the server sends only whole files."""
    if isinstance(location, RemotePath) and location.can_seek():
        with location.open_seekable() as file:
            yield file
        return
    with as_local_file(location) as path:
        yield path


def remote_validator(location: RemotePath) -> list[Any] | None:
    """Return [size, mark] that change when the content does; None where the server gives no mark."""
    info = location.info()
    mark = next((info[name] for name in _VALIDATORS if info.get(name)), None)
    return None if mark is None else [info.get("size"), str(mark)]


def digest_remote(location: RemotePath) -> str:
    """xxh3_128 of a URL's content, read once."""
    state = xxhash.xxh3_128()
    with location.open_at(0) as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return str(state.hexdigest())


@contextlib.contextmanager
def _as_os_error(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        # Over HTTP it is any refusal, and only the cause says which.
        raise FileNotFoundError(f"{url}: {error.__cause__ or 'no such file or folder'}") from error
    except OSError:
        raise
    except Exception as error:
        # Clients raise what they like (aiohttp, botocore); to a reader it is a file that cannot be read.
        raise OSError(f"{url}: {type(error).__name__}: {error}") from error
