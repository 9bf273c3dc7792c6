"""Shapes of the calls API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mana_rtc.models import Call, CallParticipant

STATES = f"One of {', '.join(CallParticipant.State.values)}."


class IceServerSerializer(serializers.Serializer[Any]):
    """An entry of ``RTCConfiguration.iceServers``."""

    urls = serializers.ListField(child=serializers.CharField())
    username = serializers.CharField(required=False)
    credential = serializers.CharField(required=False)


class IceServersSerializer(serializers.Serializer[Any]):
    """What an ``RTCPeerConnection`` is made with. ``expires_in`` is in seconds; null: for good."""

    ice_servers = IceServerSerializer(many=True)
    ice_transport_policy = serializers.ChoiceField(choices=["all", "relay"])
    expires_in = serializers.IntegerField(allow_null=True)


class CallParticipantSerializer(serializers.Serializer[Any]):
    """Somebody in a call, or rung by it."""

    user_id = serializers.CharField()
    username = serializers.CharField()
    state = serializers.CharField(help_text=STATES)
    session_id = serializers.CharField(allow_null=True)
    device_id = serializers.CharField(allow_null=True)
    muted = serializers.BooleanField()
    camera = serializers.BooleanField()
    screen = serializers.BooleanField()
    pinned = serializers.CharField(allow_null=True)
    recording = serializers.BooleanField(help_text="Whether they record the call.")


class CallSerializer(serializers.Serializer[Any]):
    """A call. ``seconds`` is how long people talked, ``own_state`` what it was for the user who asks."""

    id = serializers.CharField()
    room_id = serializers.CharField()
    state = serializers.CharField(help_text=f"One of {', '.join(Call.State.values)}.")
    reason = serializers.CharField(allow_null=True, help_text=f"One of {', '.join(Call.Reason.values)}.")
    video = serializers.BooleanField()
    outgoing = serializers.BooleanField()
    own_state = serializers.CharField(allow_null=True, help_text=STATES)
    started_at = serializers.CharField()
    answered_at = serializers.CharField(allow_null=True)
    ended_at = serializers.CharField(allow_null=True)
    seconds = serializers.IntegerField(allow_null=True)
    participants = CallParticipantSerializer(many=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Also ``from``, which Python does not take for a name: who began it."""
        return {**super().get_fields(), "from": serializers.CharField(allow_null=True)}


class DeclineSerializer(serializers.Serializer[Any]):
    """Why a call is declined."""

    busy = serializers.BooleanField(default=False)


class EndSerializer(serializers.Serializer[Any]):
    """For whom a call ends."""

    everybody = serializers.BooleanField(default=False)
