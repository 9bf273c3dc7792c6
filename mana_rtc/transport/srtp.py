"""SRTP (RFC 3711): libsrtp for everything, and a faster way to encrypt where AES-GCM (RFC 7714) was agreed on.

libsrtp checks, decrypts and refuses replays of all that comes in. What goes out is encrypted once per subscriber, which
is most of a forwarder's work; with AES-GCM that is one call into OpenSSL, without the copies of the binding.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pylibsrtp import Error as LibsrtpError
from pylibsrtp import Policy, Session

from mana_rtc.transport.aiortc_parts import SrtpKeys

#: libsrtp's binding takes no longer packets (1500 bytes less the longest trailer).
MAX_PLAIN = 1356
#: Packets behind the newest within which libsrtp tells a replay from a packet that came late.
REPLAY_WINDOW = 1024
GCM_PROFILES = ("SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM")

SrtpError = LibsrtpError


class Protect(Protocol):
    """Encrypts an RTP packet: ``header`` (12 bytes and extensions) and ``payload`` to the datagram.

    ``index`` is the sequence number without wraps, below 2^15 for the first packet of an SSRC (RFC 3711 section 3.3.1).
    """

    def __call__(self, header: bytes, payload: bytes, ssrc: int, index: int) -> bytes:
        """The encrypted packet."""


class Srtp:
    """Both directions of one peer. ``accelerated`` asks for the faster encryption where the profile allows it."""

    def __init__(self, keys: SrtpKeys, *, accelerated: bool) -> None:
        self._receive = Session(_policy(keys, keys.receive, Policy.SSRC_ANY_INBOUND))
        self._send = Session(_policy(keys, keys.send, Policy.SSRC_ANY_OUTBOUND))
        self.profile = keys.profile
        self.accelerated = accelerated and keys.profile in GCM_PROFILES
        #: Raises ``SrtpError`` for packets that came before, and for those that were not made with the key.
        self.unprotect = self._receive.unprotect
        self.unprotect_rtcp = self._receive.unprotect_rtcp
        self.protect_rtcp = self._send.protect_rtcp
        self.protect: Protect = GcmSender(keys).protect if self.accelerated else self._protect

    def _protect(self, header: bytes, payload: bytes, ssrc: int, index: int) -> bytes:
        protected: bytes = self._send.protect(header + payload)
        return protected


def _policy(keys: SrtpKeys, key: bytes, direction: int) -> Policy:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=keys.libsrtp_profile)
    policy.window_size = REPLAY_WINDOW
    return policy


class GcmSender:
    """Encrypts RTP with AES-GCM (RFC 7714 section 8).

    An index of an SSRC may be used once only: two packets of one nonce would give the key away. The caller must see to
    that; it can't be guessed here from the 16 bits of a sequence number, which a publisher may have jump as it likes.
    """

    def __init__(self, keys: SrtpKeys) -> None:
        master, salt = keys.send[: keys.key_length], keys.send[keys.key_length :]
        self._encrypt = AESGCM(derive(master, salt, 0x00, keys.key_length)).encrypt
        self._salt = int.from_bytes(derive(master, salt, 0x02, 12))

    def protect(self, header: bytes, payload: bytes, ssrc: int, index: int) -> bytes:
        """Encrypts a packet (see ``Protect``)."""
        return header + self._encrypt(((ssrc << 48 | index) ^ self._salt).to_bytes(12), payload, header)


def derive(master: bytes, salt: bytes, label: int, length: int) -> bytes:
    """A session key or salt (RFC 3711 section 4.3.1 with a derivation rate of 0; RFC 7714 section 11)."""
    start = int.from_bytes(salt.ljust(14, b"\0")) ^ label << 48
    counter = (start << 16).to_bytes(16)
    # AES in counter mode is what the standard's key derivation is made of; nothing is encrypted here.
    encryptor = Cipher(algorithms.AES(master), modes.CTR(counter)).encryptor()
    return encryptor.update(bytes(length)) + encryptor.finalize()
