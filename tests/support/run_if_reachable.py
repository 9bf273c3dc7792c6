"""``python -m tests.support.run_if_reachable SERVICE ARGUMENT...``: runs Python if a service is there.

Otherwise it says why not, and fails only where ``MANA_TEST_REQUIRE=all``.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.services import HOW_TO_START, missing


def main() -> int:
    """The exit code of what was run."""
    service, *arguments = sys.argv[1:]
    reason = missing(service)
    if reason is None:
        return subprocess.run([sys.executable, *arguments], check=False).returncode
    print(f"SKIPPED: {reason}. To have it: {HOW_TO_START[service]}")
    return 1 if os.environ.get("MANA_TEST_REQUIRE") == "all" else 0


if __name__ == "__main__":
    sys.exit(main())
