"""Syndace's `doubleratchet` and `x3dh`, set to this protocol's constants: independent oracles of the core.

The ratchet classes take our labels, our AES-256-GCM and our associated data; their logic is their own.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar

import doubleratchet
import x3dh
from doubleratchet.recommended import HashFunction as RatchetHash
from doubleratchet.recommended import diffie_hellman_ratchet_curve25519, kdf_hkdf, kdf_separate_hmacs
from x3dh.crypto_provider import HashFunction as X3DHHash

from mana_e2ee.core import primitives
from mana_e2ee.core.envelope import HEADER, Header, Message, pad, unpad
from mana_e2ee.core.errors import InvalidMessage
from mana_e2ee.core.ratchet import ROOT_LABEL, associated_data, message_secret

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Their API is asynchronous without ever waiting: one step runs it to its end."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise RuntimeError("the coroutine waits")


class RootKDF(kdf_hkdf.KDF):
    @staticmethod
    def _get_hash_function() -> RatchetHash:
        return RatchetHash.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return ROOT_LABEL


class ChainKDF(kdf_separate_hmacs.KDF):
    @staticmethod
    def _get_hash_function() -> RatchetHash:
        return RatchetHash.SHA_256


class GCM(doubleratchet.AEAD):
    @staticmethod
    async def encrypt(plaintext: bytes, key: bytes, associated_data: bytes) -> bytes:
        return primitives.seal(message_secret(key), pad(plaintext), associated_data)

    @staticmethod
    async def decrypt(ciphertext: bytes, key: bytes, associated_data: bytes) -> bytes:
        try:
            return unpad(primitives.unseal(message_secret(key), ciphertext, associated_data))
        except InvalidMessage as error:
            raise doubleratchet.AuthenticationFailedException from error


class DoubleRatchet(doubleratchet.DoubleRatchet):
    """`associated_data` is TH || type || session id || the block of a first message."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        transcript, kind, session_id, block = (
            associated_data[:32],
            associated_data[32],
            associated_data[33:49],
            associated_data[49:],
        )
        packed = HEADER.pack(
            1,
            kind,
            session_id,
            header.ratchet_pub,
            header.previous_sending_chain_length,
            header.sending_chain_length,
        )
        return associated_data_of(transcript, packed + block)


def associated_data_of(transcript: bytes, prefix: bytes) -> bytes:
    return associated_data(transcript, prefix)


OPTIONS: dict[str, Any] = {
    "diffie_hellman_ratchet_class": diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet,
    "root_chain_kdf": RootKDF,
    "message_chain_kdf": ChainKDF,
    "message_chain_constant": b"\x02\x01",
    "dos_protection_threshold": 1_000,
    "max_num_skipped_message_keys": 2_000,
    "aead": GCM,
}


class TheirRatchet:
    """One end of a session, held by Syndace's DoubleRatchet, that speaks our wire format."""

    def __init__(self, transcript: bytes, session_id: bytes, block: bytes = b"") -> None:
        self._transcript = transcript
        self._session_id = session_id
        self._block = block
        self._ratchet: DoubleRatchet | None = None

    def _associated(self, kind: int, block: bytes) -> bytes:
        return self._transcript + bytes((kind,)) + self._session_id + block

    def start(self, secret: bytes, signed_prekey: bytes, plaintext: bytes) -> bytes:
        """As the initiator: the first message."""
        self._ratchet, encrypted = run(
            DoubleRatchet.encrypt_initial_message(
                **OPTIONS,
                shared_secret=secret,
                recipient_ratchet_pub=signed_prekey,
                message=plaintext,
                associated_data=self._associated(2, self._block),
            )
        )
        return self._wire(2, self._block, encrypted)

    def accept(self, secret: bytes, signed_prekey: bytes, message: Message) -> bytes:
        """As the responder: the plaintext of the first message."""
        self._ratchet, plaintext = run(
            DoubleRatchet.decrypt_initial_message(
                **OPTIONS,
                shared_secret=secret,
                own_ratchet_priv=signed_prekey,
                message=_encrypted(message.header, message.ciphertext),
                associated_data=self._associated(2, message.prefix[HEADER.size :]),
            )
        )
        return plaintext

    def encrypt(self, plaintext: bytes) -> bytes:
        assert self._ratchet is not None
        kind = 2 if self._block else 1
        encrypted = run(self._ratchet.encrypt_message(plaintext, self._associated(kind, self._block)))
        return self._wire(kind, self._block, encrypted)

    def decrypt(self, message: Message) -> bytes:
        assert self._ratchet is not None
        associated = self._associated(message.header.kind, message.prefix[HEADER.size :])
        plaintext = run(self._ratchet.decrypt_message(_encrypted(message.header, message.ciphertext), associated))
        self._block = b""
        return plaintext

    def _wire(self, kind: int, block: bytes, message: doubleratchet.EncryptedMessage) -> bytes:
        header = message.header
        packed = HEADER.pack(
            1,
            kind,
            self._session_id,
            header.ratchet_pub,
            header.previous_sending_chain_length,
            header.sending_chain_length,
        )
        return packed + block + message.ciphertext


def _encrypted(header: Header, ciphertext: bytes) -> doubleratchet.EncryptedMessage:
    theirs = doubleratchet.Header(
        ratchet_pub=header.ratchet_key,
        previous_sending_chain_length=header.previous,
        sending_chain_length=header.number,
    )
    return doubleratchet.EncryptedMessage(header=theirs, ciphertext=ciphertext)


class X3DHState(x3dh.BaseState):
    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        return b"\x02" + pub


def x3dh_state(*, identity: bytes, signed_prekey: bytes, one_time: list[bytes], info: bytes) -> X3DHState:
    """Their state with our X25519 private keys; `info` is the HKDF info of one agreement."""
    from xeddsa import ed25519_priv_sign, priv_force_sign, priv_to_curve25519_pub

    signature = ed25519_priv_sign(priv_force_sign(identity, False), b"\x02" + priv_to_curve25519_pub(signed_prekey))
    model = x3dh.BaseStateModel(
        identity_key=x3dh.identity_key_pair.IdentityKeyPairPriv(identity).model,
        signed_pre_key=x3dh.signed_pre_key_pair.SignedPreKeyPair(signed_prekey, signature, 0).model,
        old_signed_pre_key=None,
        pre_keys=frozenset(one_time),
    )
    return X3DHState.from_model(model, x3dh.IdentityKeyFormat.CURVE_25519, X3DHHash.SHA_256, info)


__all__ = ["DoubleRatchet", "TheirRatchet", "run", "x3dh_state"]
