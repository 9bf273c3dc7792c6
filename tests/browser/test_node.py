"""The browser client's own tests, which run in Node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.services import require


@pytest.mark.slow
def test_the_browser_client() -> None:
    require("node")
    # By name: what a folder means to `node --test` differs between its versions.
    files = sorted(str(path) for path in Path(__file__).parent.glob("*.test.mjs"))
    assert files
    done = subprocess.run(["node", "--test", *files], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
