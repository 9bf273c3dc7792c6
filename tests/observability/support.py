"""What lies around a node: a link that can be held up, a collector of traces, and staff."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.support import databases
from tests.support.server import Server

PASSWORD = "staff-password-canary-8472"


class Link:
    """A way to a server that can be held up: then connections open, and nothing comes through."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = threading.Event()
        self._open.set()
        port = self._listener.getsockname()[1]
        user = f"{parts.username}@" if parts.username else ""
        self.url = parts._replace(netloc=f"{user}127.0.0.1:{port}").geturl()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Nothing comes through."""
        self._open.clear()

    def release(self) -> None:
        """Everything does, what was held up first."""
        self._open.set()

    def close(self) -> None:
        """No new connections."""
        self._open.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, contextlib.suppress(OSError):
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    data = ready.recv(65536)
                    self._open.wait()
                    if not data:
                        return
                    (far if ready is near else near).sendall(data)


class Collector:
    """An OTLP/HTTP receiver: the spans that were sent to it."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        """A request has come."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        assert path == "/v1/traces"
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append({one.key: one.value.string_value for one in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def named(self, name: str) -> list[Any]:
        """The spans of a name."""
        return [span for span in self.spans if span.name == name]

    def close(self) -> None:
        """Listens no more."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def staff(server: Server, name: str = "operator") -> Iterator[httpx.Client]:
    """Somebody of the staff, signed in with a session."""
    databases.manage(
        "createsuperuser",
        "--noinput",
        "--username",
        name,
        "--email",
        "",
        database_url=server.database_url,
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
    )
    with httpx.Client(base_url=server.http, timeout=30, follow_redirects=True) as client:
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get("/login/").text)
        assert found is not None
        form = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": found[1]}
        client.post("/login/", data=form, headers={"Referer": server.http})
        assert "sessionid" in client.cookies
        yield client


def until(condition: Any, seconds: float = 20) -> Any:
    """What ``condition()`` gives, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "It did not come to pass."
        time.sleep(0.05)
    return value
