"""Who can reach a cluster: tokens in real files, a real server, real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ulmfit_dist.cluster.checks import exposure
from ulmfit_dist.cluster.checks.exposure import authentication, exposed_ports, jobs_refused
from ulmfit_dist.cluster.checks.finding import Level
from ulmfit_dist.cluster.checks.ports import free_port


@contextmanager
def server(status: int) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/api/jobs/" and "Authorization" not in self.headers else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Answer) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    return tmp_path / "token"


@pytest.mark.parametrize(("mode", "level"), [(0o600, Level.GOOD), (0o640, Level.WARNING), (0o604, Level.WARNING)])
def test_a_token_is_its_users_alone(token: Path, mode: int, level: Level) -> None:
    token.write_text("secret")
    token.chmod(mode)
    (finding,) = authentication()
    assert finding.level is level
    assert "secret" not in finding.found


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_missing_token_blocks(token: Path, content: str | None) -> None:
    if content is not None:
        token.write_text(content)
    assert [finding.level for finding in authentication()] == [Level.BLOCKS]


def test_no_authentication_blocks(token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    (finding,) = authentication()
    assert finding.level is Level.BLOCKS
    assert "disabled" in finding.found


@pytest.mark.parametrize(("status", "level"), [(401, Level.GOOD), (403, Level.GOOD), (200, Level.BLOCKS)])
def test_the_jobs_api_has_to_refuse_who_has_no_token(status: int, level: Level) -> None:
    with server(status) as address:
        assert jobs_refused(address).level is level


def test_a_jobs_api_that_is_out_of_reach_is_closed() -> None:
    finding = jobs_refused(f"127.0.0.1:{free_port()}")
    assert finding.good
    assert "not reachable" in finding.found


def test_an_open_dashboard_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "open_to_all", lambda: [20000, 20001, 20002, 30000])
    assert exposed_ports("127.0.0.1:8265").good
    assert exposed_ports("").good
    finding = exposed_ports("0.0.0.0:30000")
    assert finding.level is Level.WARNING
    assert finding.found.startswith("20000-20002, 30000;")
