"""Shapes of the accounts API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from mana.accounts.models import Device, Profile, SignIn
from mana.accounts.permissions import ALL


class ClientSerializer(serializers.Serializer[Any]):
    """What a client may say of itself when it signs in; the tokens then belong to the device."""

    device_id = serializers.RegexField(r"^[\x21-\x7e]{1,64}$", required=False)
    device_name = serializers.CharField(max_length=100, required=False, allow_blank=True)


class CredentialsSerializer(ClientSerializer):
    """A name, e-mail address or phone number, and a password."""

    username = serializers.CharField(max_length=320, trim_whitespace=False)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


class RegistrationSerializer(ClientSerializer):
    """What a new account needs; ``email`` and ``phone`` as the project's settings say."""

    username = serializers.CharField(max_length=150, trim_whitespace=False)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)
    email = serializers.EmailField(required=False, allow_blank=True)
    phone = serializers.CharField(max_length=32, required=False, allow_blank=True)


class GuestSerializer(ClientSerializer):
    """What a guest may say."""

    display_name = serializers.CharField(max_length=100, required=False, allow_blank=True)


@extend_schema_serializer(examples=[OpenApiExample("Example", value={"refresh": "eyJhbGciOi..."}, request_only=True)])
class RefreshSerializer(serializers.Serializer[Any]):
    """A refresh token."""

    refresh = serializers.CharField(max_length=8192)


class TokensSerializer(serializers.Serializer[Any]):
    """A pair of JWTs."""

    access = serializers.CharField()
    refresh = serializers.CharField()


class LogoutSerializer(serializers.Serializer[Any]):
    """What to end: this sign-in, or all."""

    everywhere = serializers.BooleanField(default=False)


class TicketSerializer(serializers.Serializer[Any]):
    """A pass for one WebSocket handshake; ``expires_in`` is in seconds."""

    ticket = serializers.CharField()
    expires_in = serializers.IntegerField()


class PasswordChangeSerializer(serializers.Serializer[Any]):
    """The old password and a new one."""

    old_password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


class PasswordResetSerializer(serializers.Serializer[Any]):
    """Where the mail goes, if somebody has that address."""

    email = serializers.CharField(max_length=320)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Example", value={"uid": "Nw", "token": "d2x8f1-5c0b", "password": "another-one-8"}, request_only=True
        )
    ]
)
class PasswordResetConfirmSerializer(serializers.Serializer[Any]):
    """What the mail said, and a new password."""

    uid = serializers.CharField(max_length=512)
    token = serializers.CharField(max_length=512)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


@extend_schema_serializer(
    examples=[OpenApiExample("Example", value={"uid": "Nw", "token": "d2x8f1-5c0b"}, request_only=True)]
)
class EmailConfirmSerializer(serializers.Serializer[Any]):
    """What the mail said."""

    uid = serializers.CharField(max_length=512)
    token = serializers.CharField(max_length=512)


class PhoneCodeSerializer(serializers.Serializer[Any]):
    """The code that was sent to the phone."""

    code = serializers.CharField(max_length=64)


class SignInSerializer(serializers.ModelSerializer[SignIn]):
    """A sign-in of the user that has not ended."""

    id = serializers.CharField(read_only=True)
    current = serializers.SerializerMethodField(help_text="Whether the request comes from it.")

    class Meta:
        model = SignIn
        fields = ["id", "device_id", "user_agent", "address", "created_at", "refreshed_at", "expires_at", "current"]
        read_only_fields = fields

    def get_current(self, row: SignIn) -> bool:
        """Whether the request comes from it."""
        return str(row.pk) == self.context.get("sign_in_id")


class StatusSerializer(serializers.Serializer[Any]):
    """What somebody is up to."""

    text = serializers.CharField(max_length=140, required=False, allow_blank=True)
    emoji = serializers.CharField(max_length=32, required=False, allow_blank=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class UserSerializer(serializers.Serializer[Any]):
    """A user as others see them in lists."""

    id = serializers.CharField()
    username = serializers.CharField()
    display_name = serializers.CharField(allow_blank=True)
    avatar_url = serializers.CharField(allow_null=True)


class UserDetailSerializer(UserSerializer):
    """A user as others see them; ``online`` is null where they do not show it."""

    about = serializers.CharField(allow_blank=True)
    status = StatusSerializer(allow_null=True)
    online = serializers.BooleanField(allow_null=True)
    last_seen = serializers.CharField(allow_null=True)


class RegisteredSerializer(TokensSerializer):
    """A new account and its first tokens."""

    user = UserSerializer()


class MeSerializer(UserSerializer):
    """The user themselves."""

    about = serializers.CharField(allow_blank=True)
    status = StatusSerializer(allow_null=True)
    email = serializers.CharField(allow_blank=True)
    email_verified = serializers.BooleanField()
    phone = serializers.CharField(allow_blank=True)
    phone_verified = serializers.BooleanField()
    has_password = serializers.BooleanField()
    role = serializers.CharField(allow_blank=True, help_text="admin, moderator, user, guest or empty.")
    permissions = serializers.ListField(child=serializers.ChoiceField(sorted(ALL)))
    last_seen_to = serializers.ChoiceField(Profile.Seen.choices)
    direct_messages_from = serializers.ChoiceField(Profile.Writers.choices)
    find_by_email = serializers.BooleanField()
    find_by_phone = serializers.BooleanField()


class ProfileChangeSerializer(serializers.Serializer[Any]):
    """What a user may change of their profile; ``status`` null takes it back."""

    display_name = serializers.CharField(max_length=100, required=False, allow_blank=True)
    about = serializers.CharField(max_length=500, required=False, allow_blank=True)
    status = StatusSerializer(required=False, allow_null=True)
    last_seen_to = serializers.ChoiceField(Profile.Seen.choices, required=False)
    direct_messages_from = serializers.ChoiceField(Profile.Writers.choices, required=False)
    find_by_email = serializers.BooleanField(required=False)
    find_by_phone = serializers.BooleanField(required=False)


@extend_schema_serializer(examples=[OpenApiExample("Example", value={"username": "ada-lovelace"}, request_only=True)])
class UsernameSerializer(serializers.Serializer[Any]):
    """A new name."""

    username = serializers.CharField(max_length=150, trim_whitespace=False)


@extend_schema_serializer(
    examples=[
        OpenApiExample("Example", value={"email": "ada@example.com", "password": "a-long-one-7"}, request_only=True)
    ]
)
class EmailSerializer(serializers.Serializer[Any]):
    """A new address, and the password that shows whose account it is."""

    email = serializers.CharField(max_length=254, allow_blank=True)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


@extend_schema_serializer(
    examples=[
        OpenApiExample("Example", value={"phone": "+49 30 901820", "password": "a-long-one-7"}, request_only=True)
    ]
)
class PhoneSerializer(serializers.Serializer[Any]):
    """A new number, and the password that shows whose account it is."""

    phone = serializers.CharField(max_length=32, allow_blank=True)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


@extend_schema_serializer(examples=[OpenApiExample("Example", value={"password": "a-long-one-7"}, request_only=True)])
class DeletionSerializer(serializers.Serializer[Any]):
    """The password, of accounts that have one."""

    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True, required=False)


class AvatarSerializer(serializers.Serializer[Any]):
    """An image: JPEG, PNG, WebP or GIF."""

    avatar = serializers.FileField(write_only=True)


class DeviceSerializer(serializers.ModelSerializer[Device]):
    """One of the user's devices."""

    online = serializers.SerializerMethodField(help_text="Whether it has a socket open.")
    current = serializers.SerializerMethodField(help_text="Whether the request comes from it.")

    class Meta:
        model = Device
        fields = [
            "device_id",
            "name",
            "platform",
            "cursor",
            "created_at",
            "last_seen_at",
            "online",
            "current",
        ]
        read_only_fields = ["device_id", "platform", "cursor", "created_at", "last_seen_at"]

    def get_online(self, device: Device) -> bool:
        """Whether it has a socket open."""
        return device.device_id in self.context.get("online", ())

    def get_current(self, device: Device) -> bool:
        """Whether the request comes from it."""
        return bool(device.device_id) and device.device_id == self.context.get("device_id")
