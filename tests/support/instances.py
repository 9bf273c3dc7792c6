"""Servers of a test's own, on free loopback ports, to be killed, frozen, emptied and cut off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support import freezing
from tests.support.server import free_port
from tests.support.services import require

START_TIMEOUT = 60


class Instance:
    """A server process. ``start`` returns when it answers."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"mana-{type(self).__name__.lower()}-"))
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        raise AssertionError

    def command(self) -> list[str]:
        """What starts it in the foreground."""
        raise AssertionError

    def answers(self) -> bool:
        """Whether it does its work."""
        raise AssertionError

    def start(self) -> None:
        """Starts it, unless it runs, and waits until it answers."""
        if self._process is not None:
            return
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        while not self.answers():
            assert time.monotonic() < deadline, f"It does not start:\n{(self.folder / 'log').read_text()[-3000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay, answers do not come."""
        if self._process is not None:
            freezing.freeze(self._process.pid)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            freezing.thaw(self._process.pid)

    def close(self) -> None:
        """Ends it and removes its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Instance):
    """Redis, which keeps nothing."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--dir", str(self.folder), "--loglevel", "warning"),
        ]

    def answers(self) -> bool:
        return self.cli("PING") == "PONG"

    def cli(self, *words: str) -> str:
        """What it answers to a command."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, check=False, timeout=10
        )
        return done.stdout.strip()


class Nats(Instance):
    """A NATS server."""

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [shutil.which("nats-server") or "/usr/sbin/nats-server", "-a", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
            return probe.recv(4) == b"INFO"
        return False


class Postgres(Instance):
    """PostgreSQL with a cluster of its own; it runs as the user postgres where the tests run as root."""

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        data = self.folder / "data"
        if not data.exists():
            if os.getuid() == 0:
                shutil.chown(self.folder, "postgres")
            subprocess.run(
                [*_as("postgres"), _postgres("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"],
                check=True,
                capture_output=True,
            )
        return [
            *(*_as("postgres"), _postgres("postgres"), "-D", str(data), "-p", str(self.port), "-h", "127.0.0.1"),
            *("-c", f"unix_socket_directories={self.folder}"),
        ]

    def freeze(self) -> None:
        """SIGSTOP of the server and of the processes that serve its connections."""
        super().freeze()
        self._for_children(freezing.freeze)

    def thaw(self) -> None:
        """SIGCONT."""
        self._for_children(freezing.thaw)
        super().thaw()

    def _for_children(self, do: Callable[[int], None]) -> None:
        if self._process is not None:
            for pid in _children(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    do(pid)

    def kill(self) -> None:
        """Immediate shutdown: what a power cut leaves, but no orphaned processes."""
        self.thaw()
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGQUIT)
        if self._process is not None:
            self._process.wait(30)
            self._process = None

    def answers(self) -> bool:
        with contextlib.suppress(Exception):
            return self.execute("SELECT 1") == [(1,)]
        return False

    def kill_connections(self) -> None:
        """Ends every client's connection."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def execute(self, statement: str) -> Any:
        """The rows of a statement."""
        import psycopg

        with psycopg.connect(self.url.replace("postgres://", "postgresql://"), autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()


class MariaDB(Instance):
    """MariaDB with a data folder of its own."""

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/"

    def command(self) -> list[str]:
        data = self.folder / "data"
        user = ["--user=mysql"] if os.getuid() == 0 else []
        if not data.exists():
            if os.getuid() == 0:
                shutil.chown(self.folder, "mysql")
            subprocess.run(
                [
                    "mariadb-install-db",
                    "--no-defaults",
                    f"--datadir={data}",
                    "--skip-test-db",
                    *user,
                    "--auth-root-authentication-method=normal",
                ],
                check=True,
                capture_output=True,
            )
        return [
            *(shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", *user),
            *(f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder}/mysqld.sock"),
            *("--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M"),
        ]

    def answers(self) -> bool:
        with contextlib.suppress(Exception):
            return self.execute("SELECT 1") == ((1,),)
        return False

    def kill_connections(self) -> None:
        """Ends every client's connection."""
        for (connection_id,) in self.execute(
            "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'"
        ):
            with contextlib.suppress(Exception):
                self.execute(f"KILL {connection_id}")

    def execute(self, statement: str) -> Any:
        """The rows of a statement."""
        import MySQLdb

        connection = MySQLdb.connect(host="127.0.0.1", port=self.port, user="root")
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()


INSTANCES: dict[str, type[Instance]] = {"redis": Redis, "nats": Nats, "postgres": Postgres, "mariadb": MariaDB}


@contextlib.contextmanager
def instance(name: str) -> Iterator[Any]:
    """A server of the test's own for the length of a block; skips where it is not installed."""
    require(name)
    made = INSTANCES[name]()
    try:
        made.start()
        yield made
    finally:
        made.close()


class Link:
    """A TCP connection's way to a server, which can be cut, or lose what is sent to the server, and be mended."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._loop = asyncio.new_event_loop()
        self._whole = True
        self._swallows = False
        self._generation = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        self.url = parts._replace(netloc=f"127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """Ends all connections and lets no new one through."""
        self._whole = False
        self._call(self._end_all())

    def swallow(self) -> None:
        """Lets nothing through to the server any more, and says so to nobody; what the server sends goes on."""
        self._swallows = True

    def abandon(self) -> None:
        """The other ends of the connections that are open are gone without a word; new ones go through."""
        self._generation += 1

    def mend(self) -> None:
        """Lets connections through again."""
        self._whole = True
        self._swallows = False

    def close(self) -> None:
        """Ends it."""
        self.cut()
        self._server.close()
        self._call(_end_all_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _end_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        generation = self._generation

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, *, up: bool) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if generation != self._generation:
                        await asyncio.Event().wait()  # and reads no more
                    if not (up and self._swallows):
                        target.write(data)
                        await target.drain()

        try:
            if self._whole:
                up_reader, up_writer = await asyncio.open_connection(*self._to)
                self._open.add(up_writer)
                try:
                    await asyncio.wait(
                        [
                            asyncio.ensure_future(pump(reader, up_writer, up=True)),
                            asyncio.ensure_future(pump(up_reader, writer, up=False)),
                        ],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                finally:
                    self._open.discard(up_writer)
                    up_writer.transport.abort()
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()


async def _end_all_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)


def _children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name before the parent's id may hold anything but ends with the last parenthesis.
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
    return found


def _as(user: str) -> list[str]:
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if os.getuid() == 0 else []


def _postgres(program: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else program
