"""coturn of a test's own on a free loopback port, as docs/calls.md describes it, but with loopback peers allowed."""

from __future__ import annotations

import contextlib
import shutil
import socket

from tests.support.instances import Instance

SECRET = "only-the-site-and-coturn-know-this"


class Coturn(Instance):
    """Relays at 127.0.0.1."""

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=udp"

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "log").read_text(errors="replace")

    def command(self) -> list[str]:
        return [
            *(shutil.which("turnserver") or "turnserver", "-n", "--log-file", "stdout", "--verbose"),
            *("--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--listening-port", str(self.port)),
            *("--realm", "mana.test", "--use-auth-secret", "--static-auth-secret", SECRET),
            *("--relay-threads", "1", "--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls"),
            *("--userdb", str(self.folder / "turndb"), "--pidfile", str(self.folder / "pid")),
        ]

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False
