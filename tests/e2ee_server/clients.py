"""People with devices of the Python core, on a real server: as little of a client as the server's tests need."""

from __future__ import annotations

import base64
import json
from typing import Any

from mana_e2ee.core import (
    AccountKey,
    Address,
    Device,
    DeviceList,
    MemoryStore,
    PreKeyBundle,
    Publication,
    accept_device_list,
    decrypt,
    encrypt,
    forget,
    has_session,
    process_prekey_bundle,
)
from tests.support.client import Account, Socket


def b64(data: bytes) -> str:
    """Bytes as they are on the wire."""
    return base64.b64encode(data).decode()


def keys_of(publication: Publication) -> dict[str, Any]:
    """What a device uploads."""
    return {
        "record": b64(publication.record.to_bytes()),
        "signed_prekey": b64(publication.signed_prekey.to_bytes()),
        "kem_prekey": b64(publication.kem_prekey.to_bytes()) if publication.kem_prekey else None,
        "one_time": [b64(key.to_bytes()) for key in publication.one_time],
    }


class Phone:
    """One device of an account, with its keys in memory."""

    def __init__(self, account: Account, device_id: str) -> None:
        self.account = account
        self.address = Address(account.id, device_id)
        self.store = MemoryStore()
        self.device = Device.generate(self.store, self.address)

    def publish(self, *, one_time: int = 4) -> dict[str, Any]:
        """Uploads its keys over REST; what the server has of it then."""
        keys = keys_of(self.device.publish_bundle(one_time=one_time))
        answer = self.account.http.put(f"/api/e2ee/devices/{self.address.device}", json=keys)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def socket(self) -> Socket:
        """Its socket."""
        return self.account.socket(device_id=self.address.device)

    def accept(self, bundles: dict[str, Any]) -> None:
        """Starts sessions with the devices of an answer to a claim, as far as it has none."""
        if bundles["device_list"]:
            accept_device_list(self.store, DeviceList.from_bytes(base64.b64decode(bundles["device_list"])))
        for one in bundles["bundles"]:
            address = Address(bundles["user_id"], one["device_id"])
            if address != self.address and not has_session(self.store, address):
                process_prekey_bundle(self.store, address, PreKeyBundle.from_bytes(base64.b64decode(one["bundle"])))

    def claim(self, *people: Person) -> None:
        """Claims the bundles of people's devices over REST."""
        for person in people:
            path = f"e2ee/bundles/{person.account.id}"
            self.accept(self.account.post(path, own_device_id=self.address.device))

    def sealed(self, text: str, *phones: Phone) -> dict[str, dict[str, str]]:
        """A text encrypted for devices, as ``payloads`` of a frame."""
        payloads: dict[str, dict[str, str]] = {}
        for phone in phones:
            message = encrypt(self.store, phone.address, text.encode())
            payloads.setdefault(phone.address.user, {})[phone.address.device] = b64(message)
        return payloads

    def read(self, frame: dict[str, Any]) -> str:
        """What a frame says to this device."""
        received = decrypt(self.store, Address(frame["from"], frame["device_id"]), base64.b64decode(frame["payload"]))
        forget(self.store, received)
        return received.plaintext.decode()

    def waiting(self) -> list[dict[str, Any]]:
        """The frames that wait for it at the server."""
        return list(self.account.get(f"e2ee/devices/{self.address.device}/envelopes")["messages"])


class Person:
    """An account with a key of its own and devices that it vouches for."""

    def __init__(self, account: Account, *device_ids: str) -> None:
        self.account = account
        self.key = AccountKey.generate()
        self.list: DeviceList | None = None
        self.phones = [Phone(account, device_id) for device_id in device_ids]
        for phone in self.phones:
            phone.publish()
        if self.phones:
            self.vouch(*self.phones)

    def vouch(self, *phones: Phone) -> None:
        """Publishes the next device list."""
        answer = self.account.http.put("/api/e2ee/device-list", json={"device_list": b64(self.sign(*phones))})
        assert answer.status_code == 200, answer.text

    def sign(self, *phones: Phone) -> bytes:
        """The next device list."""
        records = [phone.device.record for phone in phones]
        if self.list is None:
            self.list = DeviceList.create(self.key, self.account.id, records)
        else:
            self.list = self.list.next(self.key, records)
        return self.list.to_bytes()

    @property
    def epoch(self) -> int:
        """That of its current list."""
        return self.list.epoch if self.list is not None else 0


def epochs(*people: Person) -> dict[str, int]:
    """The epochs of people's lists, as a frame gives them."""
    return {person.account.id: person.epoch for person in people}


def text_of(frames: list[dict[str, Any]]) -> str:
    """All frames as one text, to look for what must not be in it."""
    return json.dumps(frames)
