"""Each invariant of the architecture, its mechanism switched off, and the test that notices.

`python -m tests.invariants` switches each off in a copy of the tree and shows that the test fails; RESULTS.md has the
outcome of the last run.
"""
