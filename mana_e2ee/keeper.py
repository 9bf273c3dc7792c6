"""Gives messaging the payloads that each device has of its own: where a node repairs itself, in sync, in history."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from uuid import UUID

from mana.accounts.stores import people
from mana.messaging import sealed
from mana.messaging.sealed import Payloads, Reader
from mana.realtime.announcements import device_key
from mana_e2ee import stores
from mana_e2ee.models import SharedBody
from mana_e2ee.uploads import packed


def payload_json(body: bytes) -> str:
    """A ciphertext as the payload of a frame."""
    return json.dumps(packed(body))


class EnvelopeKeeper:
    """The ``mana.messaging.sealed.Keeper`` on the envelopes. What a device has acked is not there any more."""

    def of_all(self, event_ids: Collection[UUID], using: str) -> Mapping[UUID, Payloads]:
        """What waits for whatever devices."""
        rows = stores.envelopes(event_ids, using).select_related("device")
        found = [(row.event_id, row.device.user_id, row.device.device_id, bytes(row.body)) for row in rows]
        users = people({user_pk for _, user_pk, _, _ in found})
        own: dict[UUID, dict[str, str]] = defaultdict(dict)
        for event_id, user_pk, device_id, body in found:
            if body and user_pk in users:
                own[event_id][device_key(users[user_pk].user_id, device_id)] = payload_json(body)
        payloads = {event_id: Payloads(own=of_event) for event_id, of_event in own.items()}
        for event_id, body in stores.shared_bodies(event_ids, using).items():
            payloads[event_id] = Payloads(common=payload_json(body))
        return payloads

    def of_reader(self, event_ids: Collection[UUID], reader: Reader, using: str) -> Mapping[UUID, str]:
        """What waits for one device."""
        rows = stores.envelopes(event_ids, using).filter(
            device__user_id=reader.user_pk, device__device_id=reader.device_id
        )
        bodies = {event_id: bytes(body) for event_id, body in rows.values_list("event_id", "body")}
        shared = stores.shared_bodies([event_id for event_id, body in bodies.items() if not body], using)
        found = {event_id: body or shared.get(event_id) for event_id, body in bodies.items()}
        return {event_id: payload_json(body) for event_id, body in found.items() if body}

    def discard(self, event_ids: Collection[UUID], using: str) -> None:
        """The events say nothing any more."""
        stores.envelopes(event_ids, using).delete()
        SharedBody.objects.using(using).filter(event_id__in=list(event_ids)).delete()


sealed.register(EnvelopeKeeper())
