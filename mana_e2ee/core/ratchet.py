"""The Double Ratchet (The Double Ratchet Algorithm, revision 1, sections 3.1 to 3.5).

A `Ratchet` is one session's secret state. It does no I/O, and knows neither addresses nor trust. `decrypt`
works on values beside the state and assigns them only after the message has authenticated, so that a failure
changes nothing; before that it does at most one Diffie-Hellman and MAX_SKIP + 1 chain steps.
"""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from . import primitives
from .encoding import fields
from .envelope import FIRST_MESSAGE, HEADER, MESSAGE, Message, pad, unpad
from .errors import DuplicateMessage, NoSession, TooManySkipped
from .handshake import Agreement
from .limits import (
    MAX_COUNTER,
    MAX_PAST_CHAINS,
    MAX_SKIP,
    MAX_STORED_KEYS,
    SKIPPED_KEY_AGE,
    VERSION,
)

ROOT_LABEL = b"Mana-E2EE v1 root"
MESSAGE_LABEL = b"Mana-E2EE v1 message"
KEY_AND_NONCE = 44

Skipped = dict[tuple[bytes, int], tuple[bytes, int]]  # (ratchet key, N) -> (message key, stored at)


def kdf_root(root: bytes, dh: bytes) -> tuple[bytes, bytes]:
    """KDF_RK: (root key, chain key), 32 bytes each."""
    output = primitives.hkdf(dh, salt=root, info=ROOT_LABEL, length=64)
    return output[:32], output[32:]


def kdf_chain(chain: bytes) -> tuple[bytes, bytes]:
    """KDF_CK: (chain key, message key), 32 bytes each."""
    return primitives.hmac_sha256(chain, b"\x02"), primitives.hmac_sha256(chain, b"\x01")


def message_secret(message_key: bytes) -> bytes:
    """The AES-256-GCM key and nonce of one message, 44 bytes."""
    return primitives.hkdf(message_key, salt=bytes(32), info=MESSAGE_LABEL, length=KEY_AND_NONCE)


def associated_data(transcript: bytes, prefix: bytes) -> bytes:
    """lp(label) || lp(TH) || lp(header, with the block of a first message)."""
    return fields(MESSAGE_LABEL, transcript, prefix)


@dataclass(slots=True)
class Ratchet:
    """The state of the specification's section 3.2, under its names where they are words."""

    session_id: bytes
    transcript: bytes  # TH of the handshake, 32 bytes
    root: bytes
    own_private: bytes
    own_public: bytes
    their_public: bytes | None = None
    sending: bytes | None = None
    receiving: bytes | None = None
    sent: int = 0  # Ns
    received: int = 0  # Nr
    previous: int = 0  # PN
    previous_public: bytes = bytes(32)  # our ratchet key before this one, for retry requests
    block: bytes = b""  # the handshake block, until the other side has answered
    initiated: int = 0  # when we initiated (unix seconds), 0 as the responder
    skipped: Skipped = field(default_factory=dict)
    past: list[bytes] = field(default_factory=list)  # their ratchet keys before this one
    _loaded: X25519PrivateKey | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Ratchet({self.session_id.hex()}, sent={self.sent}, received={self.received})"

    @classmethod
    def for_initiator(cls, agreement: Agreement, signed_prekey: bytes, *, now: int) -> "Ratchet":
        """RatchetInitAlice (3.3): `signed_prekey` is the responder's public one."""
        private = primitives.x25519_private()
        loaded = primitives.x25519_load(private)
        root, sending = kdf_root(agreement.secret, primitives.x25519(loaded, signed_prekey))
        public = loaded.public_key().public_bytes_raw()
        return cls(
            session_id=agreement.session_id,
            transcript=agreement.transcript,
            root=root,
            own_private=private,
            own_public=public,
            their_public=signed_prekey,
            sending=sending,
            block=agreement.block.to_bytes(),
            initiated=now,
            _loaded=loaded,
        )

    @classmethod
    def for_responder(cls, agreement: Agreement, signed_prekey: bytes) -> "Ratchet":
        """RatchetInitBob (3.3): the first ratchet key is the signed prekey, given by its private part."""
        loaded = primitives.x25519_load(signed_prekey)
        return cls(
            session_id=agreement.session_id,
            transcript=agreement.transcript,
            root=agreement.secret,
            own_private=signed_prekey,
            own_public=loaded.public_key().public_bytes_raw(),
            _loaded=loaded,
        )

    @property
    def pending(self) -> bool:
        """We initiated, and nothing has come back: first messages are still sent."""
        return bool(self.block)

    def encrypt(self, plaintext: bytes) -> bytes:
        """RatchetEncrypt (3.4): the whole message. Persist the state before the message leaves.

        Raises InvalidMessage when the plaintext is too long, NoSession when the chain is used up or not yet
        there.
        """
        padded = pad(plaintext)
        if self.sending is None or self.sent >= MAX_COUNTER:
            raise NoSession("the session cannot send")
        sending, message_key = kdf_chain(self.sending)
        kind = FIRST_MESSAGE if self.block else MESSAGE
        header = HEADER.pack(VERSION, kind, self.session_id, self.own_public, self.previous, self.sent)
        prefix = header + self.block
        ciphertext = primitives.seal(message_secret(message_key), padded, associated_data(self.transcript, prefix))
        self.sending = sending
        self.sent += 1
        return prefix + ciphertext

    def decrypt(self, message: Message, now: int) -> tuple[bytes, bool]:
        """RatchetDecrypt (3.4): (plaintext, whether the message brought a new ratchet key).

        Raises InvalidMessage, DuplicateMessage, TooManySkipped or InvalidKey; the state is then unchanged.
        """
        header = message.header
        stored = self.skipped.get((header.ratchet_key, header.number))
        if stored is not None and stored[1] + SKIPPED_KEY_AGE >= now:
            plaintext = self._open(stored[0], message)
            del self.skipped[(header.ratchet_key, header.number)]
            self.block = b""
            return plaintext, False
        if header.ratchet_key == self.their_public and self.receiving is not None:
            plaintext = self._continue_chain(self.receiving, message, now)
            stepped = False
        else:
            plaintext = self._new_chain(message, now)
            stepped = True
        self.block = b""
        return plaintext, stepped

    def _open(self, message_key: bytes, message: Message) -> bytes:
        associated = associated_data(self.transcript, message.prefix)
        return unpad(primitives.unseal(message_secret(message_key), message.ciphertext, associated))

    def _continue_chain(self, chain: bytes, message: Message, now: int) -> bytes:
        """A message of the chain that is being received."""
        number, first = message.header.number, self.received
        if number < first:
            raise DuplicateMessage("the message was decrypted before, or its key is gone")
        chain, passed = skip_keys(chain, number - first)
        chain, message_key = kdf_chain(chain)
        plaintext = self._open(message_key, message)
        self._keep(message.header.ratchet_key, first, passed, now)
        self.receiving, self.received = chain, number + 1
        return plaintext

    def _new_chain(self, message: Message, now: int) -> bytes:
        """A message with a ratchet key not seen before: DHRatchet (3.5), once it authenticates."""
        header = message.header
        if header.ratchet_key in self.past:
            raise DuplicateMessage("its chain has ended, and its key is gone")
        missed = max(header.previous - self.received, 0) if self.receiving is not None else 0
        if missed > MAX_SKIP:
            raise TooManySkipped("the message skips too many keys of the chain before it")
        root, receiving = kdf_root(self.root, self._exchange(header.ratchet_key))
        receiving, passed = skip_keys(receiving, header.number)
        receiving, message_key = kdf_chain(receiving)
        plaintext = self._open(message_key, message)

        if self.receiving is not None and self.their_public is not None:
            self._keep(self.their_public, self.received, skip_keys(self.receiving, missed)[1], now)
            self.past = [*self.past, self.their_public][-MAX_PAST_CHAINS:]
        self._keep(header.ratchet_key, 0, passed, now)
        self.their_public = header.ratchet_key
        self.receiving, self.received = receiving, header.number + 1
        self.previous_public, self.previous, self.sent = self.own_public, self.sent, 0
        self.own_private = primitives.x25519_private()
        self._loaded = primitives.x25519_load(self.own_private)
        self.own_public = self._loaded.public_key().public_bytes_raw()
        self.root, self.sending = kdf_root(root, self._exchange(header.ratchet_key))
        return plaintext

    def _exchange(self, public: bytes) -> bytes:
        if self._loaded is None:
            self._loaded = primitives.x25519_load(self.own_private)
        return primitives.x25519(self._loaded, public)

    def _keep(self, ratchet_key: bytes, first: int, message_keys: list[bytes], now: int) -> None:
        """Stores skipped keys, and drops what is then too much or too old."""
        for number, message_key in enumerate(message_keys, first):
            self.skipped[ratchet_key, number] = (message_key, now)
        self.drop_old(now)

    def drop_old(self, now: int) -> bool:
        """Drops skipped keys above 2,000, oldest first, and those of more than 30 days; whether there were any."""
        before = len(self.skipped)
        while self.skipped:
            oldest = next(iter(self.skipped))
            if len(self.skipped) <= MAX_STORED_KEYS and self.skipped[oldest][1] + SKIPPED_KEY_AGE >= now:
                break
            del self.skipped[oldest]
        return len(self.skipped) < before


def skip_keys(chain: bytes, count: int) -> tuple[bytes, list[bytes]]:
    """SkipMessageKeys (3.5): the chain key after `count` steps, and the message keys of those steps."""
    if count > MAX_SKIP:
        raise TooManySkipped(f"the message skips {count} keys, allowed are {MAX_SKIP}")
    message_keys: list[bytes] = []
    for _ in range(count):
        chain, message_key = kdf_chain(chain)
        message_keys.append(message_key)
    return chain, message_keys
