"""Bytes in and out: big-endian integers, length-prefixed fields, a reader that never reads past the end."""

from .errors import InvalidMessage
from .limits import MAX_COUNTER, MAX_NAME


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def lp(value: bytes) -> bytes:
    """A field with its length before it: u32 length, then the bytes."""
    return len(value).to_bytes(4, "big") + value


def fields(*values: bytes) -> bytes:
    """Length-prefixed fields, one after the other: what every hash and signature of the protocol covers."""
    return b"".join([len(value).to_bytes(4, "big") + value for value in values])


def check_bytes(value: object) -> bytes:
    """The value unchanged, or InvalidMessage when it is not `bytes`: text and numbers must not get further, and
    a `bytearray` could change while it is being read.
    """
    if not isinstance(value, bytes):
        raise InvalidMessage(f"{type(value).__name__} instead of bytes")
    return value


def name(value: str) -> bytes:
    """A user, device or group id as UTF-8: 1 to 255 bytes, compared byte for byte, never normalised."""
    if not isinstance(value, str):
        raise InvalidMessage("an id is not text")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage("an id is not valid text") from error
    if not 1 <= len(encoded) <= MAX_NAME:
        raise InvalidMessage(f"an id has {len(encoded)} bytes, allowed are 1 to {MAX_NAME}")
    return encoded


class Reader:
    """Takes fields from the front of `data`. Raises InvalidMessage when there are not enough bytes."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = check_bytes(data)
        self._position = 0

    def take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            raise InvalidMessage("the bytes end too early")
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def counter(self) -> int:
        """A u32 up to MAX_COUNTER, so that the number after it is one too."""
        value = self.u32()
        if value > MAX_COUNTER:
            raise InvalidMessage("a counter is above 2^31 - 1")
        return value

    def u64(self) -> int:
        """Up to 2^53 - 1, which JavaScript can hold too."""
        value = int.from_bytes(self.take(8), "big")
        if value >= 2**53:
            raise InvalidMessage("a number is above 2^53 - 1")
        return value

    def lp(self, limit: int) -> bytes:
        """A length-prefixed field of at most `limit` bytes."""
        length = self.u32()
        if length > limit:
            raise InvalidMessage(f"a field has {length} bytes, allowed are {limit}")
        return self.take(length)

    def name(self) -> str:
        try:
            text = self.lp(MAX_NAME).decode()
        except UnicodeDecodeError as error:
            raise InvalidMessage("an id is not valid UTF-8") from error
        if not text:
            raise InvalidMessage("an id is empty")
        return text

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._position)

    def end(self) -> None:
        """Raises InvalidMessage when bytes are left over."""
        if self._position != len(self._data):
            raise InvalidMessage("there are bytes after the end")
