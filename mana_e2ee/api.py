"""REST: keys, device lists, claims, and the ciphertext that waits for a device."""

from __future__ import annotations

import re
from dataclasses import asdict

from drf_spectacular.utils import OpenApiExample, extend_schema
from msgspec import Raw, to_builtins
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from mana.accounts.stores import Person, resolve
from mana.protocol import ErrorCode, ManaError
from mana.rest import ManaAPIView
from mana_e2ee.serializers import (
    AckedSerializer,
    AckSerializer,
    BackupSerializer,
    BackupStatusSerializer,
    BackupUploadSerializer,
    BundlesSerializer,
    ClaimSerializer,
    DeviceKeysSerializer,
    DeviceListSerializer,
    DeviceListsSerializer,
    EpochSerializer,
    KeysSerializer,
    PendingQuerySerializer,
    PendingSerializer,
    RecipientsSerializer,
    RefillSerializer,
    SinceSerializer,
)
from mana_e2ee.services import backups, claims, delivery, directory, lists
from mana_e2ee.uploads import packed

_DEVICE_ID = re.compile(r"[\x21-\x7e]{1,64}")
STATUS = OpenApiExample(
    "A device",
    {
        "device_id": "phone",
        "is_listed": True,
        "one_time_remaining": 87,
        "signed_prekey_id": 3,
        "kem_prekey_id": 3,
        "epoch": 2,
    },
    response_only=True,
)
KEYS = OpenApiExample(
    "Keys",
    {
        "record": "AQAAAAE3AAAABXBob25l...",
        "signed_prekey": "AAAAAQJ3...",
        "kem_prekey": "AAAAAQN9...",
        "one_time": ["AAAAAQI1...", "AAAAAgKK..."],
    },
    request_only=True,
)
LIST = OpenApiExample("A device list", {"device_list": "AQAAAAE3AV6b..."}, request_only=True)


class DevicesView(ManaAPIView):
    """The user's devices that have published keys."""

    @extend_schema(operation_id="e2ee_devices_list", responses=DeviceKeysSerializer(many=True), examples=[STATUS])
    def get(self, request: Request) -> Response:
        """What the server has of each."""
        return Response([asdict(one) for one in directory.statuses(request.user)])


class DeviceView(ManaAPIView):
    """The keys of one of the user's devices."""

    @extend_schema(operation_id="e2ee_devices_retrieve", responses=DeviceKeysSerializer, examples=[STATUS])
    def get(self, request: Request, device_id: str) -> Response:
        """What the server has of it: whether it should refill, and whether the device list names it."""
        return Response(asdict(directory.status(request.user, _checked(device_id))))

    @extend_schema(request=KeysSerializer, responses=DeviceKeysSerializer, examples=[KEYS, STATUS])
    def put(self, request: Request, device_id: str) -> Response:
        """Publishes its public keys, or rotates its prekeys. The same again changes nothing."""
        return Response(asdict(directory.publish(request.user, _checked(device_id), request.data)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, device_id: str) -> Response:
        """Removes its keys and what waits for it. Those who may have sessions with it are told."""
        directory.remove(request.user, _checked(device_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class PrekeysView(ManaAPIView):
    """One-time prekeys of one of the user's devices."""

    @extend_schema(
        request=RefillSerializer,
        responses={201: DeviceKeysSerializer},
        examples=[OpenApiExample("Refill", {"one_time": ["AAAAZQI1..."]}, request_only=True), STATUS],
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Adds some."""
        made = directory.refill(request.user, _checked(device_id), request.data)
        return Response(asdict(made), status=status.HTTP_201_CREATED)


class EnvelopesView(ManaAPIView):
    """The ciphertext that waits for one of the user's devices."""

    @extend_schema(parameters=[PendingQuerySerializer], responses=PendingSerializer)
    def get(self, request: Request, device_id: str) -> Response:
        """The oldest of it, as the frames that brought it. Ack it, and ask again while there is more."""
        query = self.validated(PendingQuerySerializer, request.query_params)
        found = delivery.pending(request.user, _checked(device_id), limit=query.get("limit"))
        return Response({"messages": [Raw(frame) for frame in found.frames], "has_more": found.has_more})


class AcksView(ManaAPIView):
    """Acks of one of the user's devices."""

    @extend_schema(
        request=AckSerializer,
        responses=AckedSerializer,
        examples=[
            OpenApiExample("Acks", {"message_ids": ["01932c5e-7b1c-7c3f-9a54-3d1f0c2b7a11"]}, request_only=True),
            OpenApiExample("Acked", {"acked": 1}, response_only=True),
        ],
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Tells that the device has decrypted and kept these: the server forgets their ciphertext."""
        given = self.validated(AckSerializer)
        return Response({"acked": delivery.ack(request.user, _checked(device_id), given["message_ids"])})


class DeviceListView(ManaAPIView):
    """The user's own device list."""

    @extend_schema(request=DeviceListSerializer, responses=EpochSerializer, examples=[LIST])
    def put(self, request: Request) -> Response:
        """Publishes the next one. Contacts and people in common rooms are told."""
        return Response({"epoch": lists.publish(request.user, request.data)})

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Drops lists, keys and waiting ciphertext, for who has lost the account key. Others will be warned."""
        lists.start_over(request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class BackupView(ManaAPIView):
    """The user's encrypted backup, of which the server can read nothing."""

    @extend_schema(operation_id="e2ee_backup_retrieve", responses=BackupSerializer)
    def get(self, request: Request) -> Response:
        """The backup that was stored last."""
        return Response(asdict(backups.read(request.user)))

    @extend_schema(
        request=BackupUploadSerializer,
        responses=BackupStatusSerializer,
        examples=[OpenApiExample("A backup", {"backup": "AQYhm3..."}, request_only=True)],
    )
    def put(self, request: Request) -> Response:
        """Stores the user's backup in place of the one before."""
        made = backups.write(request.user, request.data)
        return Response({"size": made.size, "updated_at": made.updated_at})

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Removes it, if there is one."""
        backups.remove(request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeviceListsView(ManaAPIView):
    """Device lists of somebody."""

    @extend_schema(
        parameters=[SinceSerializer],
        responses=DeviceListsSerializer,
        examples=[OpenApiExample("Lists", {"results": [{"epoch": 2, "device_list": "AQAAAAE3..."}]})],
    )
    def get(self, request: Request, user_id: str) -> Response:
        """The current one, or those after an epoch, the oldest first."""
        since = self.validated(SinceSerializer, request.query_params)["since"]
        rows = lists.lists_of(request.user, _person(user_id), since=since)
        return Response({"results": [{"epoch": row.epoch, "device_list": packed(row.data)} for row in rows]})


class BundlesView(ManaAPIView):
    """Claims of somebody's prekey bundles."""

    @extend_schema(
        request=ClaimSerializer,
        responses=BundlesSerializer,
        examples=[
            OpenApiExample("Claim", {"claim_id": "b1f0", "device_id": "phone"}, request_only=True),
            OpenApiExample(
                "Bundles",
                {
                    "user_id": "7",
                    "bundles": [{"device_id": "phone", "bundle": "AQAAALgB..."}],
                    "epoch": 2,
                    "device_list": "AQAAAAE3...",
                },
                response_only=True,
            ),
        ],
    )
    def post(self, request: Request, user_id: str) -> Response:
        """One bundle per device, each with a one-time prekey that nobody else gets, while there are any."""
        given = self.validated(ClaimSerializer)
        for name in ("device_id", "own_device_id"):
            if given.get(name) is not None:
                _checked(given[name])
        return Response(to_builtins(claims.claim(request.user, _person(user_id), **given)))


class RecipientsView(ManaAPIView):
    """The devices of a room."""

    @extend_schema(
        responses=RecipientsSerializer,
        examples=[
            OpenApiExample("Devices", {"results": [{"user_id": "7", "epoch": 2, "device_ids": ["laptop", "phone"]}]})
        ],
    )
    def get(self, request: Request, room_id: str) -> Response:
        """Whom a message in the room must be encrypted for, the own devices among them."""
        return Response({"results": [asdict(one) for one in delivery.recipients(room_id, request.user)]})


def _person(user_id: str) -> Person:
    found = resolve([user_id]).get(user_id)
    if found is None:
        raise ManaError(ErrorCode.NOT_FOUND, "There is no such user.")
    return found


def _checked(device_id: str) -> str:
    if not _DEVICE_ID.fullmatch(device_id):
        raise ManaError(ErrorCode.NOT_FOUND, "A device's id is 1 to 64 printable ASCII characters.")
    return device_id
