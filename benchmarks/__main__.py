"""``python -m benchmarks [--quick] [--only fanout,stored,cluster,memory,latency,storm] [--write]``."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime

from benchmarks import machine
from benchmarks.report import Row, table
from benchmarks.results import RESULTS, write_section
from benchmarks.scenarios import SCENARIOS, Plan
from benchmarks.servers import LOAD_CORE, SERVER_CORE

HEADING = "## Messages"
FULL, QUICK = (3, 2.5), (1, 1.5)

NOTES = """\
Texts of 200 bytes; medians of the rounds. A delivery is a message that reached somebody else. The tutorial is the
asynchronous consumer of the Channels tutorial over the in-memory layer; "with acreate" it stores with `await
Message.objects.acreate(...)`, acks, and sends to the others in the room, which is the project's job, and "alone" it
stores and acks but tells nobody. Both with Django's default database settings (BENCHMARK_CONN_MAX_AGE=none keeps their
connection open). Two nodes share the one core, the people of a room in turn on each; the layer's server has its own
processor time, which is not counted. "Redis" and "NATS" are the project's own layers, "channels_redis" is its core
layer. Part of what two nodes cost is that two processes take turns on one processor. The project runs as the demo
does: JWT authentication, permissions, limits (set out of reach), sequences. Ratios compare what was measured in the
same run, in alternating rounds."""


def main() -> None:
    """Measures what was asked for and prints the table."""
    options = _options()
    rounds, seconds = QUICK if options.quick else FULL
    began = time.monotonic()
    lines = [
        f"Machine: {machine.machine()}; {machine.busy()} at the start",
        f"Versions: {machine.versions()}",
        f"Pinned: server to core {SERVER_CORE}, load to core {LOAD_CORE}"
        if SERVER_CORE is not None
        else "One core: server and load share it",
        f"Rounds: {rounds} of {seconds:g} s",
    ]
    print("\n".join(lines), flush=True)
    rows: list[Row] = []
    for name in options.only:
        rows += SCENARIOS[name](Plan(rounds, seconds, _say))
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    lines += [
        f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {time.monotonic() - began:.0f} s; {machine.busy()} at the end",
        f"Command: `{command}`",
    ]
    print(f"\n{table(rows)}\n\n{lines[-2]}")
    if options.write:
        head = "\n".join(f"- {line}" for line in lines)
        write_section(HEADING, f"{HEADING}\n\n{head}\n\n{table(rows)}\n\n{NOTES}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument(
        "--only", type=_names, default=list(SCENARIOS), metavar="NAMES", help=f"some of {','.join(SCENARIOS)}"
    )
    parser.add_argument("--write", action="store_true", help=f"write the section of {RESULTS.name}")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(SCENARIOS)}")
    return names


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
