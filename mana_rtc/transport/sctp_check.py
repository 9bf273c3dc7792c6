"""What must hold of an SCTP packet (RFC 9260 section 3) before aiortc may read it.

aiortc's parser was made for peers of good will: a parameter of length 0 has it loop for ever, and the gaps of one SACK
may have it count to twenty million. Either would end the media of everybody in the process.
"""

from __future__ import annotations

from struct import Struct

COMMON_HEADER = 12
#: Chunks of one packet that fits into a datagram, and numbers that the gaps of one SACK may span in all: many more than
#: are ever on the way.
MAX_CHUNKS, MAX_SPAN = 128, 16_384
DATA, INIT, INIT_ACK, SACK, FORWARD_TSN = 0, 1, 2, 3, 192
#: Chunks that are a list of parameters, and the bytes before it: INIT, INIT ACK, HEARTBEAT, HEARTBEAT ACK, ABORT,
#: ERROR, RE-CONFIG.
PARAMETERS_AT = {INIT: 16, INIT_ACK: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}
_CHUNK = Struct("!BBH")
_PARAMETER = Struct("!HH")
_SACK = Struct("!IIHH")


def check(data: bytes) -> None:
    """Raises ``ValueError`` for a packet whose chunks are not as long as they say, or ask for too much work."""
    offset = COMMON_HEADER
    for _ in range(MAX_CHUNKS):
        if offset + _CHUNK.size > len(data):
            return
        kind, _, length = _CHUNK.unpack_from(data, offset)
        end = offset + length
        if length < _CHUNK.size or end > len(data):
            raise ValueError("SCTP chunk of a wrong length")
        body = data[offset + _CHUNK.size : end]
        if kind in PARAMETERS_AT:
            _parameters(body, PARAMETERS_AT[kind])
        elif kind == SACK:
            _sack(body)
        elif (kind == DATA and len(body) <= 12) or (kind == FORWARD_TSN and (len(body) < 4 or len(body) % 4)):
            raise ValueError("SCTP chunk of a wrong length")
        offset = end + -length % 4
    raise ValueError("SCTP packet of too many chunks")


def _parameters(body: bytes, offset: int) -> None:
    if len(body) < offset:
        raise ValueError("SCTP chunk is cut off")
    while offset + _PARAMETER.size <= len(body):
        _, length = _PARAMETER.unpack_from(body, offset)
        if length < _PARAMETER.size or offset + length > len(body):
            raise ValueError("SCTP parameter of a wrong length")
        offset += length + -length % 4


def _sack(body: bytes) -> None:
    if len(body) < _SACK.size:
        raise ValueError("SCTP SACK is cut off")
    _, _, gaps, duplicates = _SACK.unpack_from(body)
    if len(body) != _SACK.size + 4 * (gaps + duplicates):
        raise ValueError("SCTP SACK of a wrong length")
    span = 0
    for position in range(gaps):
        first, last = _PARAMETER.unpack_from(body, _SACK.size + 4 * position)
        span += last - first + 1
        if not 0 < first <= last or span > MAX_SPAN:
            raise ValueError("SCTP SACK of impossible gaps")
