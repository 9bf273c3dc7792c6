"""Installs the pinned npm packages that tests compare with; where there is no npm, says what will be skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.support.services import NPM_PACKAGES


def main() -> int:
    """0, unless nothing may be skipped and they can't be installed."""
    lock, installed = NPM_PACKAGES / "package-lock.json", NPM_PACKAGES / "node_modules/.package-lock.json"
    if installed.exists() and installed.stat().st_mtime > lock.stat().st_mtime:
        return 0
    npm = shutil.which("npm")
    reason = "npm is not installed (apt-get install npm)"
    if npm is not None:
        # `ci` takes exactly what the lock file names, and checks each package against its integrity hash.
        options = ["--ignore-scripts", "--no-audit", "--no-fund"]
        # Not --prefix: npm would look for its global configuration, and a company's certificates in it, under there.
        done = subprocess.run(
            [npm, "ci", *options],
            cwd=NPM_PACKAGES,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode == 0:
            return 0
        reason = f"npm ci failed: {done.stdout}{done.stderr}"
    print(f"{reason}: the comparisons with noble are skipped.")
    return 1 if os.environ.get("MANA_TEST_REQUIRE") == "all" else 0


if __name__ == "__main__":
    sys.exit(main())
