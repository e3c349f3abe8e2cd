"""Locations: URLs are read like files, what cannot be reached is an InputError, and a lost connection is made again."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import fsspec
import pytest

from ulmfit_dist.corpus import locations as locations_module
from ulmfit_dist.corpus.formats import detect_format
from ulmfit_dist.corpus.locations import (
    RemotePath,
    as_local_file,
    beside,
    digest_remote,
    files_in,
    is_url,
    locate,
    open_at,
    remote_validator,
    seekable,
    size_of,
)
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import digest_bytes

DATA = bytes(range(256)) * 9000  # more than a block


class Handler(http.server.SimpleHTTPRequestHandler):
    """A server that knows no ranges, as Python's own; `cut` answers break off after so many bytes."""

    cut: int | None = None
    requests = 0

    def log_message(self, *_):
        pass

    def copyfile(self, source, outputfile):
        type(self).requests += 1
        if self.cut is not None:
            outputfile.write(source.read(self.cut))
            type(self).cut = None
            self.close_connection = True
            self.connection.shutdown(2)
            return
        super().copyfile(source, outputfile)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder served over HTTP: (URL of it, the folder, its Handler class)."""
    monkeypatch.setattr(locations_module, "RETRY_WAIT_S", 0.0)

    class Mine(Handler):
        pass

    def handler(*args):
        return Mine(*args, directory=str(tmp_path))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path, Mine
        server.shutdown()


@pytest.fixture
def memory():
    """fsspec's file system in this process, with two files in a folder."""
    system = fsspec.filesystem("memory")
    system.pipe({"/corpus/b/two.txt": b"two", "/corpus/one.bin": DATA, "/corpus/.hidden": b"x"})
    yield system
    system.rm("/corpus", recursive=True)


@pytest.mark.parametrize(
    ("text", "url"),
    [("s3://b/k", True), ("simplecache::s3://b/k", True), ("data/a.csv", False), ("/a:b//c", False), ("C:/x", False)],
)
def test_a_url_has_a_scheme(text, url):
    assert is_url(text) == url


def test_paths_are_relative_to_the_base_and_urls_are_not(tmp_path):
    assert locate("a.csv", tmp_path) == tmp_path / "a.csv"
    assert locate("file:///data/my%20file.csv", tmp_path) == Path("/data/my file.csv")
    assert locate("memory://corpus/one.bin", tmp_path) == RemotePath("memory://corpus/one.bin")


def test_a_protocol_that_nobody_knows_is_refused():
    with pytest.raises(InputError, match="nosuch://x/y.*Protocol not known") as caught:
        locate("nosuch://x/y")
    assert caught.value.exit_code == 2


def test_a_protocol_whose_package_is_missing_is_refused_by_name(monkeypatch):
    def absent(protocol):
        raise ImportError(f"Install {protocol}fs to access it")

    monkeypatch.setattr(fsspec, "get_filesystem_class", absent)
    with pytest.raises(InputError, match="cannot read s3://bucket/x; found: Install s3fs.*do: install"):
        locate("s3://bucket/x")


def test_names_leave_out_query_and_secret():
    location = RemotePath("https://host.org/data/my%20reviews.csv.gz?token=secret#part")
    assert location.parts == ("https:", "host.org", "data", "my reviews.csv.gz")
    assert (location.name, location.suffixes) == ("my reviews.csv.gz", [".csv", ".gz"])
    assert str(beside(location, "classes.txt")) == "https://host.org/data/classes.txt"
    assert RemotePath("memory://corpus/b/two.txt").parts == ("memory:", "corpus", "b", "two.txt")


def test_a_folder_of_urls(memory):
    files = files_in(RemotePath("memory://corpus"))
    assert [(inside, size_of(file)) for inside, file in files] == [("b/two.txt", 3), ("one.bin", len(DATA))]
    with open_at(files[1][1], 1000) as file:
        assert file.read() == DATA[1000:]


def test_a_mark_changes_with_the_content(memory):
    location = RemotePath("memory://corpus/one.bin")
    before = remote_validator(location)
    assert before is not None
    assert before[0] == len(DATA)
    memory.pipe({"/corpus/one.bin": DATA[:-1] + b"!"})
    assert remote_validator(location) != before
    assert digest_remote(location) == digest_bytes(DATA[:-1] + b"!")


def test_http_is_read_from_any_byte_although_the_server_sends_whole_files(web):
    url, folder, _ = web
    (folder / "one.bin").write_bytes(DATA)
    location = RemotePath(f"{url}/one.bin")
    assert not location.is_dir()
    assert not location.can_seek()
    assert size_of(location) == len(DATA)
    with open_at(location, 300_000) as file:
        assert file.read() == DATA[300_000:]
    with seekable(location) as source:
        assert isinstance(source, Path)
        assert source.read_bytes() == DATA
        assert source.name == "one.bin"
    with as_local_file(location) as copy:
        pass
    assert not copy.exists()


def test_a_connection_that_breaks_is_made_again_where_it_was(web):
    url, folder, handler = web
    (folder / "one.bin").write_bytes(DATA)
    handler.cut = 700_000
    with open_at(RemotePath(f"{url}/one.bin")) as file:
        assert file.read() == DATA
    assert handler.requests >= 2


def test_what_cannot_be_reached_is_refused_before_work(web):
    url, folder, _ = web
    with pytest.raises(InputError, match="cannot read.*absent.csv.*404"):
        detect_format(RemotePath(f"{url}/absent.csv"), ["text"])
    with pytest.raises(InputError, match="cannot read"):
        detect_format(RemotePath("memory://absent/a.csv"), ["text"])
    (folder / "a.csv").write_text("text\nx\n")
    assert detect_format(RemotePath(f"{url}/a.csv"), ["text"]) == "csv"


def test_a_server_that_is_gone_is_an_os_error(monkeypatch):
    monkeypatch.setattr(locations_module, "RETRY_WAIT_S", 0.0)
    with pytest.raises(OSError, match="127.0.0.1"):
        open_at(RemotePath("http://127.0.0.1:9/x.csv"))
