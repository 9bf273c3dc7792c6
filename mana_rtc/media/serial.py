"""Serial number arithmetic (RFC 1982) for RTP's 16-bit sequence numbers and 32-bit timestamps."""

from __future__ import annotations


def newer16(one: int, other: int) -> bool:
    """Whether the 16-bit number ``one`` comes after ``other``."""
    return one != other and (one - other) & 0xFFFF < 0x8000


def difference16(one: int, other: int) -> int:
    """``one - other`` as a signed number, -32768 to 32767."""
    return ((one - other + 0x8000) & 0xFFFF) - 0x8000


def difference32(one: int, other: int) -> int:
    """``one - other`` as a signed number of 32 bits."""
    return ((one - other + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Unwrapper:
    """Turns 16-bit sequence numbers into ones that only grow, so that 65535 and the next 0 are neighbours.

    The first number is kept above 65535: numbers from before it stay positive.
    """

    __slots__ = ("highest",)

    def __init__(self) -> None:
        #: The highest extended number so far, -1 before the first.
        self.highest = -1

    def extend(self, sequence: int) -> int:
        """The extended number of ``sequence``, next to the highest one. Does not move the highest."""
        highest = self.highest
        if highest < 0:
            return sequence + 0x10000
        return highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000

    def advance(self, extended: int) -> None:
        """Tells that a packet with this number was accepted."""
        self.highest = max(self.highest, extended)
