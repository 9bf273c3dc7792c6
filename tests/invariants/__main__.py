"""Switches each mechanism off in a copy of the tree, and shows that its test fails; without a change it must pass.

    python -m tests.invariants              all
    python -m tests.invariants 8 12         those of some invariants
    python -m tests.invariants missing      those that RESULTS.md does not show to be noticed

The outcome goes to RESULTS.md, where it takes the place of what was there of the same switches.

PostgreSQL, Redis and Node must be there, as for the tests. Ends with 1 if a switch is not noticed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.invariants.switches import INVARIANTS, ROOT, SWITCHES, Switch

COPIED = ("mana", "mana_rtc", "mana_e2ee", "demo_project", "tests", "docs", "manage.py", "pyproject.toml")
PAGE = ROOT / "tests/invariants/RESULTS.md"
#: Seconds that a test may take; one that takes longer hangs. A machine with other work may want more.
TIMEOUT = int(os.environ.get("MANA_INVARIANTS_TIMEOUT", "120"))
#: What Node's runner says of a test of its own that fails; its summary comes last.
NODE_REASON = re.compile(r"not ok \d+ - (?!\S+\.mjs$)(.+)$", re.MULTILINE)
REASON = re.compile(r"^FAILED \S+(?: \S+)*? - (.*)$|^E   +(.+)$", re.MULTILINE)
HEAD = """# The invariants, switched off

Each row: a mechanism that was switched off in a copy of the tree (`switches.py` has the change), and the test that
failed then. All these tests pass without a change. Made by `python -m tests.invariants` on {date}.

| Invariant | Switched off, so that | The test that notices | What it says |
|---|---|---|---|
"""


def main() -> int:
    """0 if every switch is noticed."""
    lines, wrong = _known(), 0
    if sys.argv[1:] == ["missing"]:
        chosen = [switch for switch in SWITCHES if "NOT NOTICED" in lines.get(_row(switch), "NOT NOTICED")]
    else:
        wanted = {int(number) for number in sys.argv[1:]} or set(INVARIANTS)
        chosen = [switch for switch in SWITCHES if switch.invariant in wanted]
    with tempfile.TemporaryDirectory(prefix="mana-invariants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            _copy(ROOT / name, copy / name)
        for environment in {tuple(switch.environment.items()) for switch in chosen}:
            tests = {switch.test for switch in chosen if tuple(switch.environment.items()) == environment}
            code, output = _test(copy, sorted(tests), dict(environment), len(tests) * TIMEOUT)
            if code != 0:
                print(f"Something fails without any change:\n{output[-3000:]}")
                return 1
        for switch in chosen:
            begun = time.monotonic()
            said = _noticed(copy, switch)
            print(f"{switch.invariant:2} {switch.off}: {said or 'NOT NOTICED'} ({time.monotonic() - begun:.0f} s)")
            sys.stdout.flush()
            wrong += said is None
            test = switch.test.removeprefix("tests/")
            lines[_row(switch)] = f"{_row(switch)}`{test}` | {_cell(said or 'NOT NOTICED')} |\n"
            _write(lines)
    print(f"{len(chosen) - wrong} of {len(chosen)} switches are noticed.")
    return 1 if wrong else 0


def _row(switch: Switch) -> str:
    """How the row of a switch begins."""
    return f"| {switch.invariant}. {INVARIANTS[switch.invariant]} | {switch.off} | "


def _known() -> dict[str, str]:
    """The rows of the page as it is."""
    rows = PAGE.read_text().splitlines(keepends=True) if PAGE.exists() else []
    return {_row(switch): row for switch in SWITCHES for row in rows if row.startswith(_row(switch))}


def _write(lines: dict[str, str]) -> None:
    rows = [lines[_row(switch)] for switch in SWITCHES if _row(switch) in lines]
    missing = [f"- {switch.invariant}: {switch.off}\n" for switch in SWITCHES if _row(switch) not in lines]
    rows += ["\nNot run yet (`python -m tests.invariants missing` does it):\n\n", *missing] if missing else []
    PAGE.write_text(HEAD.format(date=time.strftime("%Y-%m-%d", time.gmtime())) + "".join(rows))


def _noticed(copy: Path, switch: Switch) -> str | None:
    """What the test says with the mechanism off; ``None`` if it passes. Raises where it could not be run."""
    try:
        for change in switch.changes:
            text = (copy / change.path).read_text()
            assert text.count(change.old) == 1, f"{change.path} does not hold once: {change.old!r}"
            (copy / change.path).write_text(text.replace(change.old, change.new))
        code, output = _test(copy, [switch.test], switch.environment, TIMEOUT)
    finally:
        for change in switch.changes:
            shutil.copy(ROOT / change.path, copy / change.path)
    if code == 0:
        return None
    if code is None:
        return "it hangs"
    if code != 1 or "FAILED " not in output:
        raise AssertionError(f"{switch.test} could not be run:\n{output[-3000:]}")
    found = NODE_REASON.search(output) or REASON.search(output)
    return next(group for group in found.groups() if group) if found else "fails"


def _test(copy: Path, tests: list[str], changed: dict[str, str], timeout: float) -> tuple[int | None, str]:
    environment = {**os.environ, **changed, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "-p", "no:cacheprovider", *tests]
    process = subprocess.Popen(
        command,
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and the servers that it has started
        process.wait(30)
        return None, ""
    return process.returncode, output


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    else:
        shutil.copy(source, target)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")[:160]


if __name__ == "__main__":
    sys.exit(main())
