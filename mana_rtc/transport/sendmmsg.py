"""``sendmmsg(2)`` through ctypes: many datagrams in one system call, where the C library has it."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Sequence

#: Datagrams in one call.
BATCH = 64


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class _MessageHeader(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_IoVec)),
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
    """Sends from one socket. The structures are made once and filled for each batch."""

    def __init__(self, descriptor: int) -> None:
        function = _function()
        if function is None:
            raise OSError(errno.ENOSYS, "sendmmsg is not here")
        function.argtypes = [ctypes.c_int, ctypes.POINTER(_Message), ctypes.c_uint, ctypes.c_int]
        function.restype = ctypes.c_int
        self._call = function
        self._descriptor = descriptor
        self._messages = (_Message * BATCH)()
        self._iovs = (_IoVec * BATCH)()
        self._headers = []
        self._vectors = []
        for position in range(BATCH):
            header = self._messages[position].header
            header.iov = ctypes.pointer(self._iovs[position])
            header.iov_length = 1
            self._headers.append(header)
            self._vectors.append(self._iovs[position])

    def send(self, datagrams: Sequence[tuple[bytes, bytes]]) -> int:
        """Sends (datagram, packed address) pairs in order; how many the kernel took before its buffer was full."""
        done = 0
        total = len(datagrams)
        while done < total:
            part = datagrams[done : done + BATCH]
            for header, vector, (data, address) in zip(self._headers, self._vectors, part, strict=False):
                vector.base = data
                vector.length = len(data)
                header.name = address
                header.name_length = len(address)
            sent = self._call(self._descriptor, self._messages, len(part), socket.MSG_DONTWAIT)
            if sent < 0:
                number = ctypes.get_errno()
                if number == errno.EINTR:
                    continue
                if number in (errno.EAGAIN, errno.ENOBUFS):
                    return done
                sent = 1  # this one can't be sent (no route, refused by a filter); the rest may
            done += sent
        return done
