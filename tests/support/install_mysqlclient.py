"""Installs mysqlclient where its headers are; elsewhere says why the MariaDB tests will be skipped."""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> int:
    """0, unless nothing may be skipped and it can't be installed."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        pass
    else:
        return 0
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "mysqlclient>=2.2"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return 0
    print("mysqlclient can't be built (apt-get install libmariadb-dev pkg-config gcc): MariaDB tests are skipped.")
    if os.environ.get("MANA_TEST_REQUIRE") == "all":
        print(done.stdout + done.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
