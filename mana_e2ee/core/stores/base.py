"""What a store must be: named tables of bytes under bytes, read and written in serializable transactions.

The core keeps its own records in these tables (`tables.py` lists them). A store of your own needs these
methods only, and one guarantee: two transactions never run at the same time, in any thread or process, and a
transaction is written as a whole or not at all.
"""

from contextlib import AbstractContextManager
from typing import Protocol


class Transaction(Protocol):
    """Sees its own writes."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def put(self, table: str, key: bytes, value: bytes) -> None: ...

    def delete(self, table: str, key: bytes) -> None:
        """Deleting what is not there does nothing."""
        ...

    def scan(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Every (key, value) whose key starts with `prefix`, in the order of the keys' bytes."""
        ...


class Store(Protocol):
    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commits when the block ends, and discards everything when it raises. Not reentrant."""
        ...
