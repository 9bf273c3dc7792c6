"""The long round, and the soak.

    python -m tests.faults --minutes 30 --clients 20 --pause 0.1
    python -m tests.faults --soak 10

The first does everything of ``injections`` to a community, and a reconnect storm, again and again for so many minutes,
half of them on PostgreSQL with Redis and daphne, half on MariaDB with NATS and uvicorn, on servers of its own. It
prints a table in Markdown and ends with 1 if a message was lost, doubled or out of order, if anything did not come
back, or if a connected client waited too long. The second does nothing to it but send people away and let them come
back, and ends with 1 if memory or descriptors grow.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time

from tests.faults.long_round import FAULTS, long_round
from tests.faults.soak import soak


def main() -> int:
    """0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to go on; one round of all, at least")
    parser.add_argument("--clients", type=int, default=20, help="clients that talk")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two messages of a client")
    parser.add_argument("--only", default="", help="only faults with this in their name")
    parser.add_argument("--storm", type=int, default=2000, help="clients of the reconnect storm; 0 for none")
    parser.add_argument("--soak", type=float, default=0.0, help="minutes of a soak, instead of faults")
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {os.cpu_count()} processors, ", end="")
    print(f"load {os.getloadavg()[0]:.1f} before, Python {sys.version.split()[0]}", flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all servers are ended
    files = os.environ.setdefault("TEST_FILES", tempfile.mkdtemp(prefix="mana-files-"))  # see tests.settings
    try:
        if options.soak:
            wrong = asyncio.run(soak(options.soak * 60, options.clients, options.pause))
        else:
            chosen = {name: fault for name, fault in FAULTS.items() if options.only in name}
            wrong = asyncio.run(long_round(options.minutes * 60, chosen, options.clients, options.pause, options.storm))
    finally:
        shutil.rmtree(files, ignore_errors=True)
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
