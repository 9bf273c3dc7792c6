"""What the package ships for tests of other projects is what these tests use."""

from mana.testing.pytest_plugin import mana_node, mana_person

__all__ = ["mana_node", "mana_person"]
