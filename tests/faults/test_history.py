"""The checker of histories sees what it is there to see."""

from __future__ import annotations

from typing import Any

from tests.faults.history import ClientHistory, problems, tally


def stored(*sequences: int) -> list[dict[str, Any]]:
    return [
        {"sequence": n, "index": n, "kind": "message", "sender": "ann", "ack_id": f"m{n}", "payload": n}
        for n in sequences
    ]


def ann(*acked: int) -> ClientHistory:
    acks = {f"m{n}": [{"sequence": n, "index": n}] for n in acked}
    return ClientHistory("ann", sent={f"m{n}": n for n in acked}, acked=acks)


def bob(*handled: int) -> ClientHistory:
    return ClientHistory("bob", handled=[{"sequence": n, "payload": n} for n in handled], live=[list(handled)])


def test_a_good_history_has_no_problems() -> None:
    assert problems([ann(1, 2, 3), bob(1, 2, 3)], stored(1, 2, 3)) == []


def test_each_kind_of_fault_is_found() -> None:
    faults = {
        "acked and not stored": ([ann(1, 2)], stored(1)),
        "stored twice": ([ann(1)], stored(1, 1)),
        "stored and never sent": ([ann(1)], stored(1, 2)),
        "never arrived": ([ann(1, 2), bob(1)], stored(1, 2)),
        "arrived twice": ([ann(1, 2), bob(1, 2, 2)], stored(1, 2)),
        "out of order": ([ann(1, 2), bob(2, 1)], stored(1, 2)),
        "never acked": ([ClientHistory("ann", sent={"m1": 1}, handled=[{"sequence": 1, "payload": 1}])], stored(1)),
    }
    assert [name for name, run in faults.items() if not problems(*run)] == []


def test_what_is_lost_and_what_is_doubled_is_counted() -> None:
    assert tally([ann(1, 2, 3), bob(1, 2, 3)], stored(1, 2, 3)) == (0, 0)
    assert tally([ann(1, 2), bob(1, 1)], stored(1, 3, 3)) == (3, 2)
