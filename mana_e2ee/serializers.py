"""Shapes of the encryption API, for its document. What comes in is checked by ``uploads``, whose shapes are closed."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mana.rest import PayloadField


class KeysSerializer(serializers.Serializer[Any]):
    """A device's public keys, in base64, as docs/e2ee-protocol.md writes them. Unknown fields are refused."""

    record = serializers.CharField()
    signed_prekey = serializers.CharField()
    kem_prekey = serializers.CharField(required=False, allow_null=True)
    one_time = serializers.ListField(child=serializers.CharField(), required=False, max_length=200)


class RefillSerializer(serializers.Serializer[Any]):
    """New one-time prekeys, in base64."""

    one_time = serializers.ListField(child=serializers.CharField(), min_length=1, max_length=200)


class DeviceKeysSerializer(serializers.Serializer[Any]):
    """What the server has of a device. ``epoch`` is that of the user's device list."""

    device_id = serializers.CharField()
    is_listed = serializers.BooleanField()
    one_time_remaining = serializers.IntegerField()
    signed_prekey_id = serializers.IntegerField()
    kem_prekey_id = serializers.IntegerField()
    epoch = serializers.IntegerField(allow_null=True)


class DeviceListSerializer(serializers.Serializer[Any]):
    """A signed device list, in base64."""

    device_list = serializers.CharField()


class EpochSerializer(serializers.Serializer[Any]):
    """The epoch of the device list that counts now."""

    epoch = serializers.IntegerField()


class BackupUploadSerializer(serializers.Serializer[Any]):
    """A backup as docs/e2ee-protocol.md writes it, in base64."""

    backup = serializers.CharField()


class BackupSerializer(BackupUploadSerializer):
    """The user's backup. ``size`` is in bytes."""

    size = serializers.IntegerField()
    updated_at = serializers.DateTimeField()


class BackupStatusSerializer(serializers.Serializer[Any]):
    """What the server has. ``size`` is in bytes."""

    size = serializers.IntegerField()
    updated_at = serializers.DateTimeField()


class DeviceListRowSerializer(serializers.Serializer[Any]):
    """A device list of somebody."""

    epoch = serializers.IntegerField()
    device_list = serializers.CharField()


class DeviceListsSerializer(serializers.Serializer[Any]):
    """Device lists of somebody, the oldest first."""

    results = DeviceListRowSerializer(many=True)


class SinceSerializer(serializers.Serializer[Any]):
    """Which lists."""

    since = serializers.IntegerField(
        required=False,
        default=0,
        min_value=0,
        max_value=2**53 - 1,
        help_text="Those with later epochs, 20 at the most. 0: the current one.",
    )


class ClaimSerializer(serializers.Serializer[Any]):
    """A claim. The same ``claim_id`` again, within a minute, gives the same answer."""

    device_id = serializers.CharField(required=False, allow_null=True, max_length=64)
    claim_id = serializers.CharField(required=False, allow_null=True, max_length=64)
    own_device_id = serializers.CharField(
        required=False, allow_null=True, max_length=64, help_text="The device that asks, for bundles of one's own."
    )


class DeviceBundleSerializer(serializers.Serializer[Any]):
    """The prekey bundle of one device, in base64."""

    device_id = serializers.CharField()
    bundle = serializers.CharField()


class BundlesSerializer(serializers.Serializer[Any]):
    """One bundle per device, and the device list that vouches for them."""

    user_id = serializers.CharField()
    bundles = DeviceBundleSerializer(many=True)
    epoch = serializers.IntegerField(allow_null=True)
    device_list = serializers.CharField(allow_null=True)


class PendingQuerySerializer(serializers.Serializer[Any]):
    """How many."""

    limit = serializers.IntegerField(required=False, min_value=1, max_value=200)


class PendingSerializer(serializers.Serializer[Any]):
    """Frames with ciphertext that a device has not acked, in order of sequence: ``message`` and ``encrypted``."""

    messages = serializers.ListField(child=PayloadField())
    has_more = serializers.BooleanField()


class AckSerializer(serializers.Serializer[Any]):
    """What a device has decrypted and kept."""

    message_ids = serializers.ListField(child=serializers.CharField(max_length=64), min_length=1, max_length=500)


class AckedSerializer(serializers.Serializer[Any]):
    """How much of it the server had."""

    acked = serializers.IntegerField()


class RecipientSerializer(serializers.Serializer[Any]):
    """The devices of one person in a room."""

    user_id = serializers.CharField()
    epoch = serializers.IntegerField(allow_null=True)
    device_ids = serializers.ListField(child=serializers.CharField())


class RecipientsSerializer(serializers.Serializer[Any]):
    """Whom a message in a room must be encrypted for. Members without devices are missing."""

    results = RecipientSerializer(many=True)
