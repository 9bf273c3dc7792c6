"""The asynchronous consumer of the Channels tutorial, and two variants that store before they answer."""

from __future__ import annotations

import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

from benchmarks.baseline.models import Message


class ChatConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends what comes to everybody in the room, as in part 3 of the tutorial."""

    async def connect(self) -> None:
        """Joins the room's group."""
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code: int) -> None:
        """Leaves the room's group."""
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    async def receive(self, text_data: str) -> None:
        """Sends a message to the room's group."""
        message = json.loads(text_data)["message"]
        await self.channel_layer.group_send(self.room_group_name, {"type": "chat.message", "message": message})

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Sends a message of the room's group to the client."""
        await self.send(text_data=json.dumps({"message": event["message"]}))


class StoringConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Stores a message, then acks it. Nobody else is told."""

    async def receive(self, text_data: str) -> None:
        """Stores and acks."""
        content = json.loads(text_data)
        room = self.scope["url_route"]["kwargs"]["room_name"]
        message = await Message.objects.acreate(room=room, text=content["message"])
        await self.send(text_data=json.dumps({"ack": content["ack"], "id": message.pk}))


class StoringChatConsumer(ChatConsumer):
    """The tutorial's consumer with a stored message: stores, acks, and sends it to the others in the room."""

    async def receive(self, text_data: str) -> None:
        """Stores, acks, tells the group."""
        content = json.loads(text_data)
        text = content["message"]
        message = await Message.objects.acreate(room=self.room_name, text=text)
        await self.send(text_data=json.dumps({"ack": content["ack"], "id": message.pk}))
        await self.channel_layer.group_send(
            self.room_group_name, {"type": "chat.message", "message": text, "sender": self.channel_name}
        )

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Sends a message of the others to the client; its own was acked."""
        if event["sender"] != self.channel_name:
            await super().chat_message(event)
