"""Servers under test: started on a free loopback port, pinned to one core, watched through /proc, and stopped again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
#: With one core there is nothing to pin: server and load share it.
SERVER_CORE, LOAD_CORE = (CORES[0], CORES[1]) if len(CORES) > 1 else (None, None)
START_TIMEOUT = 30.0


class Failed(Exception):
    """A process did not do what it was started for; says what it wrote."""


@dataclass(frozen=True)
class Project:
    """A Django project that can be served: its settings, its ASGI application, and further environment variables."""

    name: str
    settings: str
    application: str
    extra: Mapping[str, str]

    def environment(self, database_url: str) -> dict[str, str]:
        """The environment of its processes. Nothing of the caller's own configuration gets in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MANA_", "DJANGO_"))}
        return {
            **kept,
            "DJANGO_SETTINGS_MODULE": self.settings,
            "DATABASE_URL": database_url,
            "CHANNEL_LAYER_URL": "memory://",
            "PYTHONPATH": str(ROOT),
            **self.extra,
        }


MANA = Project(
    "mana",
    "demo_project.settings",
    "demo_project.asgi:application",
    {
        "DEBUG": "false",
        "SECRET_KEY": "the-benchmark-protects-nothing-and-lives-for-a-minute",
        "MANA_ENABLE_AUTH": "true",
        # The limits are on, and out of the load's way.
        "MANA_RATE_LIMIT_PER_SECOND": "1000000",
        "MANA_RATE_LIMIT_BURST": "1000000",
        "MANA_USER_RATE_LIMIT_PER_SECOND": "1000000",
        "MANA_USER_RATE_LIMIT_BURST": "1000000",
        "MANA_HANDSHAKE_RATE": "1000000",
        "MANA_HANDSHAKE_BURST": "1000000",
        "MANA_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
    },
)
TUTORIAL = Project("tutorial", "benchmarks.baseline.settings", "benchmarks.baseline.asgi:application", {})


@dataclass(frozen=True)
class Server:
    """A running server: one node, or several that serve one community."""

    project: Project
    ports: tuple[int, ...]
    pids: tuple[int, ...]

    def rss_kib(self) -> int:
        """Resident memory of all nodes, in KiB."""
        return sum(_rss_kib(pid) for pid in self.pids)


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Failed("the server is gone")


@contextmanager
def serve(
    project: Project, software: str, database_url: str, *, nodes: int = 1, layer: str = "memory://"
) -> Iterator[Server]:
    """Runs a project under ``daphne`` or ``uvicorn``: so many processes on the one core, over a channel layer."""
    with ExitStack() as stack:
        running = [stack.enter_context(_node(project, software, database_url, layer)) for _ in range(nodes)]
        yield Server(project, tuple(port for port, _ in running), tuple(pid for _, pid in running))


@contextmanager
def _node(project: Project, software: str, database_url: str, layer: str) -> Iterator[tuple[int, int]]:
    """One process; its port and its id."""
    port = _free_port()
    command = [sys.executable, "-m", software, project.application]
    if software == "daphne":
        command += ["-b", "127.0.0.1", "-p", str(port), "-v", "0"]
    else:
        command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**project.environment(database_url), "CHANNEL_LAYER_URL": layer},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            if SERVER_CORE is not None:
                os.sched_setaffinity(process.pid, {SERVER_CORE})
            _wait_for(process, port, log)
            yield port, process.pid
            if process.poll() is not None:
                raise Failed(f"{project.name} on {software} ended by itself:\n{_tail(log)}")
        finally:
            _end(process)
            # The tutorial's consumers fail when clients leave while messages are on their way; that is no news.
            written = _tail(log)
            if written and project is not TUTORIAL:
                print(f"-- {project.name} on {software} wrote:\n{written}", file=sys.stderr)


def manage(project: Project, database_url: str, *arguments: str) -> None:
    """Runs a management command of a project."""
    _run(["-m", "django", *arguments], project.environment(database_url), "")


def populate(project: Project, database_url: str, sizes: list[int], messages: int = 0) -> list[dict[str, Any]]:
    """Makes rooms of the given sizes; each with its key and its members' tokens."""
    given = {"sizes": sizes, "messages": messages}
    written = _run(["-m", "benchmarks.populate"], project.environment(database_url), json.dumps(given))
    rooms: list[dict[str, Any]] = json.loads(written)
    return rooms


def specification(server: Server, load: str, dialect: str, rooms: list[dict[str, Any]], **more: Any) -> str:
    """What the load generator reads."""
    return json.dumps(
        {
            "load": load,
            "dialect": dialect,
            "rooms": rooms,
            "ports": server.ports,
            "pids": server.pids,
            "core": LOAD_CORE,
            "warm_up": 0.5,
            "seconds": 0.0,
            "options": {},
            **more,
        }
    )


def load(server: Server, name: str, dialect: str, rooms: list[dict[str, Any]], **more: Any) -> dict[str, float]:
    """Runs one load against a server, in a process of its own; its result."""
    written = _run(["-m", "benchmarks.load"], dict(os.environ), specification(server, name, dialect, rooms, **more))
    result: dict[str, float] = json.loads(written)
    return result


@contextmanager
def connected(server: Server, dialect: str, rooms: list[dict[str, Any]]) -> Iterator[None]:
    """Keeps clients connected and silent."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(specification(server, "idle", dialect, rooms) + "\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise Failed("the clients could not connect")
        yield
    finally:
        process.stdin.close()
        _end(process)


def _run(arguments: list[str], environment: dict[str, str], given: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=ROOT,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise Failed(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[Any], port: int, log: Any) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"the server did not start:\n{_tail(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Failed(f"the server did not start within {START_TIMEOUT:.0f} s:\n{_tail(log)}")


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tail(log: Any) -> str:
    log.seek(0)
    text: str = log.read().decode(errors="replace")
    return text[-3000:].strip()
