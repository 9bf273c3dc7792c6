"""``python -m benchmarks.load``: one load against one server, specified and answered in JSON."""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

from benchmarks.load import measures, verify
from benchmarks.load.dialects import DIALECTS
from benchmarks.load.fleet import Fleet
from benchmarks.load.storm import storm
from benchmarks.load.window import Window


def main() -> None:
    """Reads the specification, connects, runs, and writes the result."""
    spec: dict[str, Any] = json.loads(sys.stdin.readline())
    if spec["core"] is not None:
        os.sched_setaffinity(0, {spec["core"]})
    if spec["load"] == "storm":
        dialect, people = DIALECTS[spec["dialect"]], measures.seats(spec["rooms"])
        json.dump(storm(dialect, spec["ports"], spec["pids"], people, **spec["options"]), sys.stdout)
        return
    fleet = Fleet(DIALECTS[spec["dialect"]], spec["ports"], measures.seats(spec["rooms"]))
    try:
        fleet.settle()
        json.dump(run(fleet, spec), sys.stdout)
    finally:
        fleet.close()


def run(fleet: Fleet, spec: dict[str, Any]) -> dict[str, float]:
    """The load that the specification names."""
    options = spec["options"]
    match spec["load"]:
        case "verify_deliveries":
            verify.deliveries(fleet, **options)
        case "verify_acks":
            verify.acks(fleet, **options)
        case "idle":
            # Connected is all there is to it; whoever started this looks at the server, then lets go.
            fleet.patience = float("inf")
            print(json.dumps({"clients": len(fleet.clients)}), flush=True)
            fleet.run(lambda client, texts: None, lambda: bool(select.select([sys.stdin], [], [], 0)[0]))
        case name:
            window = Window(spec["pids"], spec["warm_up"], spec["seconds"])
            return measures.LOADS[name](fleet, window, **options)
    return {}


if __name__ == "__main__":
    main()
