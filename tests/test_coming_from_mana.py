"""The page for those who come from the Go framework: nothing is missing from it, and what it names is there."""

from __future__ import annotations

import ast
import importlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.support import databases
from tests.support.client import Socket
from tests.support.server import free_port

PAGE = databases.ROOT / "docs" / "coming-from-mana.md"
QUICKSTART = databases.ROOT / "docs" / "quickstart.md"

#: What each row of the framework's documentation begins with, or names.
SUBJECTS = (
    "go get",
    "core.Config",
    "Port, Host",
    "EnableAuth",
    "EnableRTC",
    "AllowedOrigins",
    "DatabaseDriver",
    "DatabaseTablePrefix",
    "WithDatabase",
    "PubSubBackend",
    "EnableTracing",
    "/health",
    "OnMessage",
    "DeviceSyncBatch",
    "signal types",
    "MessageStore: SaveMessage",
    "AccountStore",
    "With\\*Store",
    "RoomManager: auto-created",
    "JWTAuth.GenerateToken",
    "RBAC",
    "NotificationHub.Send",
    "STUNServers",
    "SFU",
    "X3DH",
    "accessors",
    "examples",
    "admin",
)


def _rows() -> list[list[str]]:
    table = PAGE.read_text(encoding="utf-8").split("## Accessors")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return rows[1:]


@cache
def _tests_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_subject_has_one_line(subject: str) -> None:
    found = [row for row in _rows() if subject in row[0].replace("`", "")]
    assert found, f"{PAGE.name} says nothing of {subject}"


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row[0].strip(" `")[:30])
def test_each_line_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 3
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row[2])
    assert named, row[0]
    for file, test in named:
        path = databases.ROOT / "tests" / file
        assert path.exists(), file
        if test:
            assert test in _tests_in(path), f"{file}::{test}"


def test_every_accessor_is_there() -> None:
    table = PAGE.read_text(encoding="utf-8").split("## Accessors")[1]
    imports = re.findall(r"from mana import ([\w, ]+)`", table)
    names = {name for one in imports for name in one.split(", ")}
    assert names >= {"accounts", "rooms", "messages", "notifications", "contacts", "preferences", "moderation"}
    mana = importlib.import_module("mana")
    for name in names:
        assert getattr(mana, name).__name__.split(".")[0] in ("mana", "mana_rtc", "mana_e2ee")
    for path in re.findall(r"`((?:mana|mana_rtc|mana_e2ee)(?:\.\w+)+)(?:\(\))?`", table):
        parent, _, name = path.rpartition(".")
        module = importlib.import_module(parent)
        assert hasattr(module, name) or importlib.import_module(path), path
    moderation = importlib.import_module("mana.moderation")
    assert callable(moderation.warn)


def test_all_tables_have_the_prefix_that_a_project_chooses(tmp_path: Path) -> None:
    file = tmp_path / "prefixed.sqlite3"
    databases.manage("migrate", "--verbosity=0", database_url=f"sqlite:///{file}", MANA_TABLE_PREFIX="shop_")
    with sqlite3.connect(file) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    tables = {name for (name,) in rows}
    others = ("auth_", "django_", "sqlite_", "custom_db_")  # the last one's are a project's own
    assert not [name for name in tables if not name.startswith(("shop_", *others))]
    assert {"shop_message", "shop_room", "shop_profile", "shop_report", "shop_search_name"} <= tables


@pytest.fixture
def one_file(tmp_path: Path) -> Iterator[Any]:
    """The server of the quickstart, as it is printed."""
    (block, *_) = re.findall(r"```python\n(.*?)```", QUICKSTART.read_text(encoding="utf-8"), re.S)
    (tmp_path / "chat.py").write_text(block, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "MANA_", "DATABASE_"))}
    environment = {**kept, "PYTHONPATH": f"{databases.ROOT}{os.pathsep}{tmp_path}"}
    migrate = [sys.executable, "chat.py", "migrate", "--verbosity=0"]
    subprocess.run(migrate, cwd=tmp_path, env=environment, check=True, timeout=120)
    port = free_port()
    daphne = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "chat:application"]
    with subprocess.Popen(daphne, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/api/rooms")
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline
                    assert process.poll() is None
                    time.sleep(0.1)
            yield SimpleNamespace(ws=f"ws://127.0.0.1:{port}/ws")
        finally:
            process.terminate()
            process.wait(30)


async def test_the_one_file_of_the_quickstart_serves(one_file: Any) -> None:
    async with Socket(one_file, user_id="u1", username="Ann") as ann, Socket(one_file, user_id="u2") as ben:
        await ann.request("join", room_id="hall")
        await ben.request("join", room_id="hall")
        await ann.request("message", room_id="hall", payload={"text": "hello"})
        assert (await ben.expect("message"))["payload"] == {"text": "hello"}
