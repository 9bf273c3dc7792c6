"""The list of switches stays true to the code: what it changes is there, and so are its tests."""

from __future__ import annotations

import pytest

from tests.invariants.switches import INVARIANTS, ROOT, SWITCHES, Switch


def name(switch: Switch) -> str:
    return f"{switch.invariant}: {switch.off}"


def test_every_invariant_can_be_switched_off() -> None:
    assert {switch.invariant for switch in SWITCHES} == set(INVARIANTS)


@pytest.mark.parametrize("switch", SWITCHES, ids=name)
def test_what_it_changes_is_there_once_and_its_test_as_well(switch: Switch) -> None:
    for change in switch.changes:
        assert (ROOT / change.path).read_text().count(change.old) == 1
        assert change.old != change.new
    path, _, function = switch.test.partition("::")
    assert f"def {function.partition('[')[0]}(" in (ROOT / path).read_text()


def test_the_page_of_results_is_of_these_switches() -> None:
    page = (ROOT / "tests/invariants/RESULTS.md").read_text()
    assert [name(switch) for switch in SWITCHES if switch.off not in page] == []
    assert "NOT NOTICED" not in page
