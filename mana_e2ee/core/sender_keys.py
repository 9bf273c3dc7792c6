"""Sender keys: one ciphertext for a whole group. Each device has a chain of its own, handed out pairwise.

    distribution = version u8 || type 04 || lp(group) || distribution id 16 || epoch u64
                   || iteration u32 || chain key 32 || Ed25519 key 33
    message      = version u8 || type 03 || distribution id 16 || iteration u32 || ciphertext || signature 64

The chain is the ratchet's symmetric one (Double Ratchet, 2.2). There is no healing inside a chain: a stolen
chain key reads on until the next rotation, which comes on every removal, after 7 days and after 1,000
messages.
"""

import struct
from dataclasses import dataclass, field
from typing import Self

from . import keys, primitives
from .encoding import Reader, fields, lp, name, u8, u32, u64
from .envelope import GROUP_MESSAGE, MAX_CIPHERTEXT, MIN_CIPHERTEXT, SENDER_KEY
from .errors import DuplicateMessage, InvalidMessage
from .limits import MAX_STORED_KEYS, SKIPPED_KEY_AGE, VERSION
from .ratchet import KEY_AND_NONCE, kdf_chain, skip_keys
from .records import Address, check_version

GROUP_LABEL = b"Mana-E2EE v1 sender key"
GROUP_SIGNATURE_LABEL = b"Mana-E2EE v1 group message"
GROUP_HEADER = struct.Struct(">BB16sI")
DISTRIBUTION_ID_SIZE = 16
MAX_GROUP_MESSAGE = GROUP_HEADER.size + MAX_CIPHERTEXT + primitives.SIGNATURE_SIZE


def group_secret(message_key: bytes) -> bytes:
    """The AES-256-GCM key and nonce of one group message, 44 bytes."""
    return primitives.hkdf(message_key, salt=bytes(32), info=GROUP_LABEL, length=KEY_AND_NONCE)


def group_associated(group: str, sender: Address, header: bytes) -> bytes:
    return fields(GROUP_LABEL, name(group), sender.to_bytes(), header)


def group_signed(group: str, sender: Address, unsigned: bytes) -> bytes:
    """What the signature of a group message covers: all of it before the signature."""
    return fields(GROUP_SIGNATURE_LABEL, name(group), sender.to_bytes(), unsigned)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A sender key on its way to another device. As secret as the messages."""

    group: str
    id: bytes
    epoch: int
    iteration: int
    chain: bytes
    signing_key: bytes

    def to_bytes(self) -> bytes:
        return (
            u8(VERSION)
            + u8(SENDER_KEY)
            + lp(name(self.group))
            + self.id
            + u64(self.epoch)
            + u32(self.iteration)
            + self.chain
            + keys.encode(keys.ED25519, self.signing_key)
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        check_version(reader.u8())
        if reader.u8() != SENDER_KEY:
            raise InvalidMessage("not a sender key")
        distribution = cls(
            group=reader.name(),
            id=reader.take(DISTRIBUTION_ID_SIZE),
            epoch=reader.u64(),
            iteration=reader.counter(),
            chain=reader.take(32),
            signing_key=keys.decode(keys.ED25519, reader.take(keys.TYPED_SIZE)),
        )
        reader.end()
        return distribution

    def __repr__(self) -> str:
        return f"Distribution({self.group!r}, {self.id.hex()})"


@dataclass(frozen=True, slots=True)
class GroupMessage:
    """A group message taken apart."""

    id: bytes
    iteration: int
    header: bytes
    ciphertext: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises UnsupportedVersion or InvalidMessage."""
        reader = Reader(data)
        check_version(reader.u8())
        if reader.u8() != GROUP_MESSAGE:
            raise InvalidMessage("not a group message")
        if len(data) > MAX_GROUP_MESSAGE:
            raise InvalidMessage("the message is longer than any group message")
        distribution_id, iteration, rest = reader.take(DISTRIBUTION_ID_SIZE), reader.counter(), reader.rest()
        ciphertext, signature = rest[: -primitives.SIGNATURE_SIZE], rest[-primitives.SIGNATURE_SIZE :]
        if not MIN_CIPHERTEXT <= len(ciphertext) <= MAX_CIPHERTEXT:
            raise InvalidMessage("the ciphertext is too short or too long")
        return cls(distribution_id, iteration, data[: GROUP_HEADER.size], ciphertext, signature)


@dataclass(slots=True)
class SenderKey:
    """Our own chain for one group. `removal` is the sequence of the log's last removal when it was made."""

    id: bytes
    epoch: int
    removal: int
    created: int
    iteration: int
    chain: bytes
    seed: bytes

    def __repr__(self) -> str:
        return f"SenderKey({self.id.hex()}, iteration={self.iteration})"

    @classmethod
    def generate(cls, *, epoch: int, removal: int, now: int) -> Self:
        return cls(
            id=primitives.random_bytes(DISTRIBUTION_ID_SIZE),
            epoch=epoch,
            removal=removal,
            created=now,
            iteration=0,
            chain=primitives.random_bytes(32),
            seed=primitives.ed25519_private(),
        )

    def encrypt(self, group: str, sender: Address, padded: bytes) -> bytes:
        """The group message; the chain is one step further. Persist before it leaves."""
        chain, message_key = kdf_chain(self.chain)
        header = GROUP_HEADER.pack(VERSION, GROUP_MESSAGE, self.id, self.iteration)
        unsigned = header + primitives.seal(group_secret(message_key), padded, group_associated(group, sender, header))
        self.chain, self.iteration = chain, self.iteration + 1
        return unsigned + primitives.sign(self.seed, group_signed(group, sender, unsigned))

    def distribution(self, group: str) -> Distribution:
        """What lets another device read from the next message on, and none before it."""
        public = primitives.ed25519_public(self.seed)
        return Distribution(group, self.id, self.epoch, self.iteration, self.chain, public)

    def to_bytes(self) -> bytes:
        times = u64(self.epoch) + u64(self.removal) + u64(self.created)
        return self.id + times + u32(self.iteration) + self.chain + self.seed

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        key = cls(
            id=reader.take(DISTRIBUTION_ID_SIZE),
            epoch=reader.u64(),
            removal=reader.u64(),
            created=reader.u64(),
            iteration=reader.u32(),
            chain=reader.take(32),
            seed=reader.take(32),
        )
        reader.end()
        return key


@dataclass(slots=True)
class ReceiverKey:
    """Another device's chain. `order` tells the newer of its keys."""

    order: int
    epoch: int
    iteration: int
    chain: bytes
    signing_key: bytes
    skipped: dict[int, tuple[bytes, int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ReceiverKey(order={self.order}, iteration={self.iteration})"

    def decrypt(self, group: str, sender: Address, message: GroupMessage, now: int) -> bytes:
        """The padded plaintext. Raises InvalidSignature, DuplicateMessage, TooManySkipped or InvalidMessage; the
        state is then unchanged.
        """
        unsigned = message.header + message.ciphertext
        primitives.verify(self.signing_key, message.signature, group_signed(group, sender, unsigned))
        stored = self.skipped.get(message.iteration)
        chain, passed = self.chain, list[bytes]()
        if message.iteration < self.iteration:
            if stored is None or stored[1] + SKIPPED_KEY_AGE < now:
                raise DuplicateMessage("the message was decrypted before, or its key is gone")
            message_key = stored[0]
        else:
            chain, passed = skip_keys(chain, message.iteration - self.iteration)
            chain, message_key = kdf_chain(chain)
        plaintext = primitives.unseal(
            group_secret(message_key), message.ciphertext, group_associated(group, sender, message.header)
        )
        self.skipped.pop(message.iteration, None)
        if message.iteration >= self.iteration:
            for iteration, key in enumerate(passed, self.iteration):
                self.skipped[iteration] = (key, now)
            for iteration in list(self.skipped)[:-MAX_STORED_KEYS]:
                del self.skipped[iteration]
            self.chain, self.iteration = chain, message.iteration + 1
        self.drop_old(now)
        return plaintext

    def drop_old(self, now: int) -> bool:
        """Drops skipped keys of more than 30 days; whether there were any."""
        old = [iteration for iteration, (_, stored) in self.skipped.items() if stored + SKIPPED_KEY_AGE < now]
        for iteration in old:
            del self.skipped[iteration]
        return bool(old)

    def to_bytes(self) -> bytes:
        entries = (u32(number) + key + u64(stored) for number, (key, stored) in self.skipped.items())
        head = u64(self.order) + u64(self.epoch) + u32(self.iteration) + self.chain + self.signing_key
        return head + b"".join(entries)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        key = cls(reader.u64(), reader.u64(), reader.u32(), reader.take(32), reader.take(32))
        rest = reader.rest()
        for start in range(0, len(rest), 44):
            entry = Reader(rest[start : start + 44])
            number = entry.u32()
            key.skipped[number] = (entry.take(32), entry.u64())
        return key
