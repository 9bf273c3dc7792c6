"""A real ASGI server in a process of its own, on a free loopback port."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from tests.support import freezing
from tests.support.databases import ROOT

COMMANDS = {
    "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "demo_project.asgi:application"],
    "uvicorn": [
        *(
            "-m",
            "uvicorn",
            "--host",
            "127.0.0.1",
            "--port",
            "{port}",
            "--lifespan",
            "off",
            "--log-level",
            "warning",
            "--ws-per-message-deflate",
            "false",
            "--ws-max-size",
            "131072",
        ),
        "demo_project.asgi:application",
    ],
}


#: Ports for tests, below those that the system gives to outgoing connections (ip_local_port_range, from 32768): nobody
#: comes by one between its choice and its use. Each worker of xdist has a part of its own, and a run begins elsewhere
#: in it than the one before.
PORTS = range(20_000, 30_000)
PARTS = 10
PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS
_own = PORTS[PART * len(PORTS) // PARTS : (PART + 1) * len(PORTS) // PARTS]
_ports = itertools.cycle([*_own[os.getpid() % len(_own) :], *_own[: os.getpid() % len(_own)]])


def free_port() -> int:
    """A port that nobody listens on, over TCP and UDP, and that nobody else is given."""
    for port in itertools.islice(_ports, len(_own)):
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("all ports for tests are in use")


class Server:
    """One node. ``start`` returns when it accepts connections; ``kill`` is kill -9."""

    def __init__(
        self,
        database_url: str,
        *,
        kind: str = "daphne",
        port: int | None = None,
        options: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self.database_url = database_url
        self.port = port or free_port()
        self.kind = kind
        #: Of the server's own command line.
        self.options = options
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        with NamedTemporaryFile(prefix="mana-server-", suffix=".log", delete=False) as log:
            self._log = Path(log.name)

    @property
    def http(self) -> str:
        """Where HTTP is served."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """Where WebSockets are served."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def log(self) -> str:
        """What the server printed so far."""
        return self._log.read_text(errors="replace")

    def start(self) -> Server:
        """Starts the process, or another after a kill, on the same port and database."""
        *command, application = [part.format(port=self.port) for part in COMMANDS[self.kind]]
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": self.database_url,
            "PYTHONWARNINGS": "ignore",
            **self.environment,
        }
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, *self.options, application],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"The server ended:\n{self.log}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            time.sleep(0.05)
        raise AssertionError(f"The server does not listen:\n{self.log}")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def freeze(self) -> None:
        """SIGSTOP."""
        assert self.process is not None
        freezing.freeze(self.process.pid)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        freezing.thaw(self.process.pid)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def stop(self) -> None:
        """Asks it to end, and sees to it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._log.unlink(missing_ok=True)


@contextlib.contextmanager
def serving(
    database_url: str, *, kind: str = "daphne", options: Sequence[str] = (), **environment: str
) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(database_url, kind=kind, options=options, **environment)
    try:
        yield server.start()
    finally:
        server.stop()
