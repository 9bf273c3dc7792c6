"""How often a process that serves sockets looks for garbage."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.databases import ROOT

SERVE = """
before = gc.get_threshold()[0]
from demo_project.asgi import application
after = gc.get_threshold()[0]
print("as before" if after == before else after, "frozen" if gc.get_freeze_count() > 1000 else "")
"""


@pytest.mark.parametrize(
    ("setting", "project", "expected"),
    [
        ("", "", "10000 frozen"),
        ("50000", "", "50000 frozen"),
        ("0", "", "as before"),
        ("", "gc.set_threshold(100_000)", "as before"),
        ("", "gc.set_threshold(0)", "as before"),
        ("", "gc.disable()", "as before"),
    ],
    ids=["as it comes", "as is set", "left as it is", "rarer already", "never", "turned off"],
)
def test_a_process_that_serves_sockets_looks_as_rarely_as_is_set(setting: str, project: str, expected: str) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "demo_project.settings", "DEBUG": "true"}
    if setting:
        environment["MANA_GC_THRESHOLD"] = setting
    done = subprocess.run(
        [sys.executable, "-c", f"import gc\n{project}\n{SERVE}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == expected, done.stderr
