"""Encryption of our own against libsrtp: what it makes, libsrtp takes; a replay it does not."""

from __future__ import annotations

import secrets
from itertools import pairwise

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES

from mana_rtc.transport.aiortc_parts import SrtpKeys
from mana_rtc.transport.srtp import MAX_PLAIN, Srtp, SrtpError, derive

PROFILES = {profile.openssl_profile.decode(): profile for profile in SRTP_PROFILES}


def pair(name: str, *, accelerated: bool) -> tuple[Srtp, Srtp]:
    """Two ends with each other's keys."""
    profile = PROFILES[name]
    one, other = (secrets.token_bytes(profile.key_length + profile.salt_length) for _ in range(2))
    keys = SrtpKeys(name, profile.libsrtp_profile, profile.key_length, one, other)
    mirrored = SrtpKeys(name, profile.libsrtp_profile, profile.key_length, other, one)
    return Srtp(keys, accelerated=accelerated), Srtp(mirrored, accelerated=accelerated)


def header(sequence: int, ssrc: int = 7, *, extension: bool = True) -> bytes:
    """A fixed header, with an extension as the SFU writes it."""
    fixed = bytes((0x90 if extension else 0x80, 96)) + sequence.to_bytes(2) + bytes(4) + ssrc.to_bytes(4)
    return fixed + (b"\xbe\xde\0\1\x31\0\1\0" if extension else b"")


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("name", sorted(PROFILES))
def test_libsrtp_takes_it_over_wraps_and_out_of_order(name: str, accelerated: bool) -> None:
    sender, receiver = pair(name, accelerated=accelerated)
    indexes = [0, 32000, 65533, 65535, 65534, 65536, 65538, 65537, 65532, 95536, 125536, 131071, 131077]
    for position, index in enumerate(indexes):
        payload = bytes((position,)) * (position * 100)
        packed = header(index & 0xFFFF, extension=position % 2 == 0)
        data = sender.protect(packed, payload, 7, index)
        assert payload == b"" or payload not in data
        assert receiver.unprotect(data) == packed + payload


@pytest.mark.parametrize("accelerated", [False, True])
def test_streams_count_for_themselves(accelerated: bool) -> None:
    sender, receiver = pair("SRTP_AEAD_AES_128_GCM", accelerated=accelerated)
    for ssrc in (1, 2, 0xFFFFFFFF):
        for index in (32767, 65535, 65536):
            packed = header(index & 0xFFFF, ssrc)
            assert receiver.unprotect(sender.protect(packed, b"x", ssrc, index)) == packed + b"x"


def test_the_two_ways_make_the_same() -> None:
    name = "SRTP_AEAD_AES_256_GCM"
    profile = PROFILES[name]
    master = secrets.token_bytes(profile.key_length + profile.salt_length)
    keys = SrtpKeys(name, profile.libsrtp_profile, profile.key_length, master, master)
    fast, slow = Srtp(keys, accelerated=True), Srtp(keys, accelerated=False)
    assert fast.accelerated
    for index in (32767, 65534, 65535, 65536, 65537):
        packed = header(index & 0xFFFF)
        assert fast.protect(packed, b"payload", 7, index) == slow.protect(packed, b"payload", 7, index)


def test_only_gcm_is_accelerated() -> None:
    sender, _ = pair("SRTP_AES128_CM_SHA1_80", accelerated=True)
    assert not sender.accelerated


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_replays_and_forgeries_are_refused(name: str) -> None:
    sender, receiver = pair(name, accelerated=True)
    packets = [sender.protect(header(number), b"payload", 7, number) for number in range(2000)]
    for packet in packets[:1500]:
        receiver.unprotect(packet)
    for packet in (packets[1499], packets[1000], packets[0]):
        with pytest.raises(SrtpError):
            receiver.unprotect(packet)
    forged = bytearray(packets[1600])
    forged[-1] ^= 1
    with pytest.raises(SrtpError):
        receiver.unprotect(bytes(forged))
    for short in (b"\x80", packets[1601][:11], packets[1601][:13]):
        with pytest.raises(SrtpError):
            receiver.unprotect(short)
    with pytest.raises((SrtpError, ValueError)):
        receiver.unprotect(bytes(1501))
    report = sender.protect_rtcp(b"\x80\xc9\0\1\0\0\0\1")
    assert receiver.unprotect_rtcp(report) == b"\x80\xc9\0\1\0\0\0\1"
    with pytest.raises(SrtpError):
        receiver.unprotect_rtcp(report)


def test_the_longest_packet() -> None:
    sender, receiver = pair("SRTP_AES128_CM_SHA1_80", accelerated=False)
    packed = header(1)
    assert len(receiver.unprotect(sender.protect(packed, bytes(MAX_PLAIN - len(packed)), 7, 1))) == MAX_PLAIN
    with pytest.raises(ValueError, match="too long"):
        sender.protect(packed, bytes(MAX_PLAIN - len(packed) + 1), 7, 2)


def test_key_derivation_has_the_standards_vectors() -> None:
    """RFC 3711 appendix B.3."""
    master = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139")
    salt = bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
    assert derive(master, salt, 0x00, 16).hex().upper() == "C61E7A93744F39EE10734AFE3FF7A087"
    assert derive(master, salt, 0x02, 14).hex().upper() == "30CBBC08863D8C85D49DB34A9AE1"
    assert derive(master, salt, 0x01, 20).hex().upper().startswith("CEBE321F6FF7716B6FD4AB49AF256A15")


def test_no_nonce_twice() -> None:
    """Neighbouring packets and streams differ in what is encrypted."""
    sender, _ = pair("SRTP_AEAD_AES_128_GCM", accelerated=True)
    made = [sender.protect(b"", bytes(16), ssrc, number) for ssrc in (1, 2) for number in (65534, 65535, 65536, 65537)]
    assert len(set(made)) == len(made)
    assert all(one != other for one, other in pairwise(made))
