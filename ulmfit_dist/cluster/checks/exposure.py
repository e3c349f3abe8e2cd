"""Checks of who can reach a cluster: a Ray head runs what it is sent."""

from __future__ import annotations

import os
import stat
import urllib.error
import urllib.request
from pathlib import Path

from ulmfit_dist.cluster.checks.finding import Finding, Level
from ulmfit_dist.cluster.checks.ports import open_to_all

_ANSWER_S = 10.0
_REFUSED = (401, 403)


def authentication() -> list[Finding]:
    """Check that token authentication is on and that the token is this user's alone."""
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode != "token":
        do = "export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH on every node and client (cluster/settings.sh)"
        return [Finding("authentication", f"RAY_AUTH_MODE is {mode or 'not set'}", Level.BLOCKS, do)]
    if "RAY_AUTH_TOKEN" in os.environ:
        return [Finding("authentication", "token, in RAY_AUTH_TOKEN")]
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token").expanduser()
    if not path.is_file() or not path.read_text().strip():
        do = "write the cluster's token there, or name its file in RAY_AUTH_TOKEN_PATH"
        return [Finding("authentication", f"no token in {path}", Level.BLOCKS, do)]
    rights = stat.S_IMODE(path.stat().st_mode)
    if rights & (stat.S_IRWXG | stat.S_IRWXO):
        return [Finding("authentication", f"{path} has mode {rights:04o}", Level.WARNING, f"chmod 600 {path}")]
    return [Finding("authentication", f"token, in {path}")]


def jobs_refused(address: str) -> Finding:
    """Ask the jobs API at HOST:PORT for its jobs without a token: it has to refuse."""
    url = f"http://{address}"
    request = urllib.request.Request(f"{url}/api/jobs/")  # noqa: S310 - an http address of the cluster's own
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ANSWER_S) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError as error:
        # On the head's loopback address, as it should be; only a doctor on the head can ask it.
        return Finding("jobs", f"{url} is not reachable from here ({error})")
    if status in _REFUSED:
        return Finding("jobs", f"{url} refuses who has no token")
    do = "start every node with RAY_AUTH_MODE=token (cluster/node.sh): who reaches this port runs code on the cluster"
    return Finding("jobs", f"{url} answers {status} without a token", Level.BLOCKS, do)


def exposed_ports(dashboard: str) -> Finding:
    """Check that the dashboard at HOST:PORT (empty: none) is on its loopback address; name what is open beside it."""
    ports = open_to_all()
    said = _ranges(ports) or "none"
    if int(dashboard.rpartition(":")[2] or 0) in ports:
        do = "start the head with --dashboard-host=127.0.0.1 (cluster/node.sh) and reach it through ssh -L"
        return Finding("open ports", f"{said}; the dashboard among them", Level.WARNING, do)
    return Finding("open ports", f"{said} on all interfaces: for a closed network (cluster/README.md)")


def _ranges(ports: list[int]) -> str:
    """Write 1, 2, 3, 7 as `1-3, 7`."""
    runs: list[list[int]] = []
    for port in ports:
        if runs and port == runs[-1][-1] + 1:
            runs[-1].append(port)
        else:
            runs.append([port])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
