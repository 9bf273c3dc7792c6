"""A machine of its own for a browser: a network namespace in two networks, each of which can go away.

Its loopback address leads to the server's, as if the site were on it, so that only media goes over the interface.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic, sleep

from selenium.webdriver import ChromeService

from tests.support.server import free_port
from tests.support.services import require

NAME = "mana-rtc-"
CLONE_NEWNET = 0x40000000


class Namespace:
    """Between ``start`` and ``stop``."""

    def __init__(self) -> None:
        require("netns")
        self.name = f"{NAME}{os.getpid()}"
        self.networks = free_networks()
        #: This machine's address in the first of them.
        self.host = f"{self.networks[0]}.1"
        self._links = [f"mrtc{os.getpid() % 100_000}{letter}" for letter in "ab"]
        self._folder = Path(mkdtemp(prefix="mana-netns-"))
        self._forwarders: list[Forwarder] = []

    def start(self) -> Namespace:
        """Makes it."""
        remove_orphans()
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        for number, (link, network) in enumerate(zip(self._links, self.networks, strict=True)):
            inside = f"media{number}"
            run("ip", "link", "add", link, "type", "veth", "peer", "name", inside, "netns", self.name)
            run("ip", "addr", "add", f"{network}.1/24", "dev", link)
            run("ip", "link", "set", link, "up")
            run("ip", "-n", self.name, "link", "set", inside, "up")
            run("ip", "-n", self.name, "addr", "add", f"{network}.2/24", "dev", inside)
            route = f"default via {network}.1 metric {100 + number}"
            run("ip", "-n", self.name, "route", "add", *route.split())
        return self

    def leave(self, address: str) -> None:
        """The network with this address of ours is gone."""
        (number,) = [number for number, network in enumerate(self.networks) if address == f"{network}.2"]
        run("ip", "-n", self.name, "addr", "flush", "dev", f"media{number}")

    def stop(self) -> None:
        """Removes it."""
        for forwarder in self._forwarders:
            forwarder.stop()
        run("ip", "netns", "del", self.name)  # and the links with it
        shutil.rmtree(self._folder, ignore_errors=True)

    def offers(self, port: int) -> None:
        """Has a port of this machine's loopback address be found on the namespace's."""
        listener = self._inside(lambda: socket.create_server(("127.0.0.1", port)))
        self._forwarders.append(Forwarder(listener, lambda: socket.create_connection(("127.0.0.1", port), 10)))

    def chromedriver(self) -> ChromeService:
        """A chromedriver, and so a browser, inside; to be talked to from outside."""
        script = self._folder / "chromedriver"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} {shutil.which("chromedriver")} "$@"\n')
        script.chmod(0o755)
        port = free_port()

        def connect() -> socket.socket:
            deadline = monotonic() + 20
            while True:
                try:
                    return self._inside(lambda: socket.create_connection(("127.0.0.1", port), 10))
                except ConnectionRefusedError:
                    if monotonic() > deadline:
                        raise
                    sleep(0.05)

        self._forwarders.append(Forwarder(socket.create_server(("127.0.0.1", port)), connect))
        return ChromeService(str(script), port=port)

    def _inside(self, make: Callable[[], socket.socket]) -> socket.socket:
        """A socket that is made in the namespace. It stays there, whoever uses it."""
        found: list[socket.socket | BaseException] = []

        def work() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            try:
                with Path(f"/run/netns/{self.name}").open() as namespace:
                    if libc.setns(namespace.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                found.append(make())
            except OSError as error:
                found.append(error)

        thread = threading.Thread(target=work)  # the namespace is a thread's own, and ends with it
        thread.start()
        thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]


class Forwarder:
    """Carries the bytes of every connection to a listener to one of its own making, in a thread each."""

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self._listener = listener
        self._connect = connect
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(one)
            self._begin(lambda one=one: self._carry(one))  # type: ignore[misc]

    def _carry(self, one: socket.socket) -> None:
        with one:
            try:
                other = self._connect()
            except OSError:
                return
            self._open.append(other)
            with other, selectors.DefaultSelector() as selector:
                selector.register(one, selectors.EVENT_READ, other)
                selector.register(other, selectors.EVENT_READ, one)
                try:
                    while True:
                        for key, _ in selector.select():
                            data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                            if not data:
                                return
                            key.data.sendall(data)
                except (OSError, ValueError):
                    return

    def stop(self) -> None:
        """Ends all."""
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


def free_networks() -> list[str]:
    """Two networks that no interface of this machine is in: of two with one network, answers go to the wrong one."""
    taken = run("ip", "-4", "-o", "addr")
    return [network for network in (f"10.213.{number}" for number in range(77, 256)) if f" {network}." not in taken][:2]


def remove_orphans() -> None:
    """Removes what runs that were killed have left."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        if name.startswith(NAME) and not Path(f"/proc/{name.removeprefix(NAME)}").exists():
            run("ip", "netns", "del", name)


def run(*command: str) -> str:
    """Runs a command that must succeed; what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
