"""Where a client keeps its secrets: the Protocols, a store in memory, a store in one SQLite file."""

from .base import Store, Transaction
from .memory import MemoryStore
from .sqlite import SQLiteStore

__all__ = ["MemoryStore", "SQLiteStore", "Store", "Transaction"]
