"""``sendmmsg(2)`` through ctypes: many datagrams in one system call, where the C library has it."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys

#: Datagrams in one call, and bytes that each may have.
BATCH = 64
PLACE = 2048


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _MessageHeader(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    _fields_ = [("header", _MessageHeader), ("sent", ctypes.c_uint)]


def available() -> bool:
    """Whether this system has it."""
    return sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8 and _function() is not None


def _function() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None, use_errno=True).sendmmsg
    except (AttributeError, OSError):
        return None


def packed_address(family: int, address: tuple[str, int] | tuple[str, int, int, int]) -> bytes:
    """A ``sockaddr_in`` or ``sockaddr_in6``."""
    host, port = address[0], address[1]
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
    scope = address[3] if len(address) == 4 else 0
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return struct.pack("=H", family) + struct.pack("!HI", port, 0) + packed + struct.pack("=I", scope)


class BatchSender:
    """Collects datagrams for one socket and sends them together.

    Everything that the system call reads is laid out once, with a place for every datagram of the batch; what is sent
    is copied there. That costs a fraction of making pointers to Python's objects, and keeps none of them alive.
    """

    def __init__(self, descriptor: int, family: int) -> None:
        function = _function()
        if function is None:
            raise OSError(errno.ENOSYS, "sendmmsg is not here")
        function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        function.restype = ctypes.c_int
        self._call = function
        self._descriptor = descriptor
        self._name_length = 16 if family == socket.AF_INET else 28
        #: Datagrams that wait.
        self.waiting = 0
        self._addresses = [b""] * BATCH
        # Views, as their slices are copied to at once, and never change their size.
        self._data = memoryview(bytearray(BATCH * PLACE))
        self._names = memoryview(bytearray(BATCH * self._name_length))
        lengths = memoryview(bytearray(BATCH * ctypes.sizeof(_IoVec)))
        self._lengths = lengths.cast("L")[1::2]  # every second word
        vectors = (_IoVec * BATCH).from_buffer(lengths)
        data = (ctypes.c_char * len(self._data)).from_buffer(self._data)
        names = (ctypes.c_char * len(self._names)).from_buffer(self._names)
        messages = (_Message * BATCH)()
        for position in range(BATCH):
            vectors[position].base = ctypes.addressof(data) + position * PLACE
            header = messages[position].header
            header.name = ctypes.addressof(names) + position * self._name_length
            header.name_length = self._name_length
            header.iov = ctypes.addressof(vectors[position])
            header.iov_length = 1
        self._first = ctypes.addressof(messages)
        self._kept = (vectors, data, names, messages)

    def add(self, data: bytes, address: bytes) -> bool:
        """Takes a datagram for a packed address; whether there is a place for one so long. At most ``BATCH`` wait."""
        position = self.waiting
        size = len(data)
        if size > PLACE:
            return False
        at = position * PLACE
        self._data[at : at + size] = data
        self._lengths[position] = size
        if self._addresses[position] is not address:  # a room's packets often go to the same people in the same order
            self._addresses[position] = address
            at = position * self._name_length
            self._names[at : at + self._name_length] = address
        self.waiting = position + 1
        return True

    def flush(self) -> int:
        """Sends what waits, in order. How many the kernel had no room for or refused."""
        done = lost = 0
        total, self.waiting = self.waiting, 0
        while done < total:
            sent = self._call(
                self._descriptor, self._first + done * ctypes.sizeof(_Message), total - done, socket.MSG_DONTWAIT
            )
            if sent < 0:
                number = ctypes.get_errno()
                if number == errno.EINTR:
                    continue
                if number in (errno.EAGAIN, errno.ENOBUFS):
                    return lost + total - done
                lost += 1
                sent = 1  # this one can't be sent (no route, refused by a filter); the rest may
            done += sent
        return lost
