"""The client of somebody with encryption: what an application holds on to."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

from mana.client import ClientError, Credentials, Disconnected, ManaClient, Rest
from mana_e2ee.client import contents
from mana_e2ee.client.backups import Backups
from mana_e2ee.client.contents import Json
from mana_e2ee.client.context import Context, Notice
from mana_e2ee.client.controls import Controls
from mana_e2ee.client.directory import Directory
from mana_e2ee.client.errors import EncryptionError, InvalidContent
from mana_e2ee.client.files import Files
from mana_e2ee.client.groups import Groups
from mana_e2ee.client.journal import Journal, Message
from mana_e2ee.client.linking import Linking
from mana_e2ee.client.receiving import Receiver
from mana_e2ee.client.repair import Repair
from mana_e2ee.client.sealing import Sealing
from mana_e2ee.client.sending import Sender
from mana_e2ee.client.state import StoreState
from mana_e2ee.client.timeline import Shown, shown
from mana_e2ee.core import Address, Device, E2EEError, Store
from mana_e2ee.core.device import own_identity

logger = logging.getLogger("mana_e2ee.client")

HOUR = 3_600.0
RETRY = 5.0  # seconds until what is due after a connect is tried again

MessageHandler = Callable[[Message], Awaitable[None] | None]
NoticeHandler = Callable[[Notice], Awaitable[None] | None]


class E2EEClient:
    """A device with keys in ``store``: ``async with E2EEClient(url, account, SQLiteStore("bot.db")) as client``.

    Contents come to the handlers of ``on_message``, each once; what else there is to know (devices that have changed, a
    message that does not open) to those of ``on_notice``. ``mana`` is the connection, for everything that is not
    encrypted. The store is the device: never copy it, never use it in two processes.
    """

    def __init__(self, url: str, credentials: Credentials, store: Store, *, device_id: str | None = None) -> None:
        self.store = store
        with store.transaction() as tx, contextlib.suppress(LookupError):
            device_id = own_identity(tx).record.address.device
        self._url = url
        self.mana = ManaClient(
            url,
            credentials,
            device_id=device_id or f"python-{uuid4().hex[:12]}",
            state=StoreState(Journal(store)),
        )
        self._message_handlers: list[MessageHandler] = []
        self._notice_handlers: list[NoticeHandler] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = asyncio.Event()

    @property
    def rest(self) -> Rest:
        """REST calls with the user's credentials."""
        return self.mana.rest

    # -- Life --------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> E2EEClient:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def start(self, *, timeout: float = 60.0) -> None:
        """Connects; returns when the keys are published and everything that waited has been read.

        Raises what ``ManaClient.start`` raises, and ``AccountChanged`` or ``ListRefused`` if the server does not give
        the user's own device list.
        """
        try:
            async with asyncio.timeout(timeout):
                user_id = str((await self.rest.get("me"))["id"])
                self._build(user_id)
                await self.mana.start(timeout=None)
                await self.mana.online()
                await self._after_connect()
        except BaseException:
            await self.close()
            raise
        self._task(self._hourly())

    def _build(self, user_id: str) -> None:
        address = Address(user_id, self.mana.device_id)
        try:
            device = Device.load(self.store)
        except LookupError:
            device = Device.generate(self.store, address)
        if device.address != address:
            raise ValueError(f"the store is that of {device.address}")
        context = self.context = Context(self.mana, self.store, device, self._notice)
        self.directory = Directory(context)
        self.controls = Controls(context, self.directory)
        self.groups = Groups(context, self.directory, self.controls)
        self.sender = Sender(context, self.directory, self.groups, self.controls)
        self.receiver = Receiver(context, self.directory, self.groups)
        self.files = Files(self.mana)
        self.backups = Backups(context, self.directory, self.groups, self.controls, self.files, self.receiver)
        self.linking = Linking(context, self.directory, self.controls, self.backups, self.receiver)
        self.repair = Repair(context, self.directory, self.groups, self.controls, self.sender, self.receiver)
        self.sealing = Sealing(context, self.directory)
        self.receiver.on_message = self._told
        self.receiver.controls["app"] = self._app_control
        for kind, handler in (
            ("message", self._frame),
            ("encrypted", self._frame),
            ("message_delete", self._deleted),
            ("device_list", self._device_list),
            ("prekeys_low", self._prekeys_low),
            ("room", self._room_changed),
            ("welcome", self._welcomed),
        ):
            self.mana.on(kind, handler)

    async def _after_connect(self) -> None:
        """Keys as they should be, and whatever the cursor does not know of."""
        self.directory.forget_rooms()
        await self.directory.settle()
        await self.receiver.drain()
        await self.repair.remind()
        if not self.directory.is_linked:
            self.context.notify("unlisted")
        if not self._ready.is_set():
            self._ready.set()
            if self.directory.is_linked:
                self.context.background(self.sender.resume(), "Sending what was left from before")

    def _welcomed(self, frame: Json) -> None:
        if self._ready.is_set():
            self._task(self._reconnected())

    async def _reconnected(self) -> None:
        while True:
            await self.mana.online()
            try:
                await self._after_connect()
                return
            except Disconnected:
                return  # the next welcome does it
            except EncryptionError as error:
                logger.warning("After the connect: %s", error)
                return  # the application was told, and it does not pass by itself
            except (ClientError, E2EEError) as error:
                logger.warning("After the connect: %s", error)
            await asyncio.sleep(RETRY)

    async def _hourly(self) -> None:
        for hour in itertools.count(1):
            await asyncio.sleep(HOUR)
            with contextlib.suppress(ClientError, E2EEError, EncryptionError):
                await self.mana.online()
                await self.repair.remind()
                if hour % 24:
                    continue
                await self.directory.settle()
                self.context.journal.prune()
                await self.backups.store()

    def _task(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Disconnects. What was not acked is sent when the store is used again."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "context"):
            await self.context.close()
        await self.mana.close()

    # -- Handlers ----------------------------------------------------------------------------------------------------

    def on_message(self, handler: MessageHandler) -> None:
        """Calls ``handler(message)`` for each content of others that was read. Add it before ``start``."""
        self._message_handlers.append(handler)

    def on_notice(self, handler: NoticeHandler) -> None:
        """Calls ``handler(notice)``."""
        self._notice_handlers.append(handler)

    async def _told(self, message: Message) -> None:
        for handler in self._message_handlers:
            await _called(handler, message)

    def _notice(self, notice: Notice) -> None:
        if notice.kind == "linked":
            self.context.background(self.repair.remind(), "A look at what came before this device was linked")
        for handler in self._notice_handlers:
            if inspect.iscoroutinefunction(handler):
                self._task(_called(handler, notice))
            else:
                handler(notice)

    async def _frame(self, frame: Json) -> None:
        if frame["type"] == "encrypted" or frame.get("encrypted"):
            await self.receiver.handle(frame)

    async def _deleted(self, frame: Json) -> None:
        if frame.get("scope") != "me":  # that is for the user's eyes alone; others may still ask for it
            await self.receiver.delete(frame["message_id"], frame["room_id"])

    async def _device_list(self, frame: Json) -> None:
        self.directory.forget_users([frame["user_id"]])
        if self.directory.current(frame["user_id"]) is not None:
            # Whatever epoch the frame names: of the one that is known there must not be another list.
            work = self.directory.refresh(frame["user_id"])
            self.context.background(work, "Reading a device list")

    async def _prekeys_low(self, frame: Json) -> None:
        if frame["device_id"] == self.context.address.device:
            self.context.background(self.directory.refill_now(), "A refill of prekeys")

    async def _room_changed(self, frame: Json) -> None:
        self.directory.forget_rooms([frame["room_id"]])

    async def _app_control(self, frame: Json, sender: Address, said: Json) -> None:
        if not isinstance(said.get("name"), str):
            raise InvalidContent("`name` is missing")
        self.context.notify(
            "app", **{"from": sender.user, "device_id": sender.device, "name": said["name"], "data": said.get("data")}
        )

    # -- Messages ----------------------------------------------------------------------------------------------------

    async def send(
        self,
        room_id: str,
        text: str = "",
        *,
        reply_to: Message | None = None,
        mentions: Iterable[str] = (),
        attachments: Iterable[Json] = (),
    ) -> Message:
        """Sends a text, with files that ``files.upload`` has described; returns once the server has stored it.

        Raises ``NotLinked``, ``UnknownMember``, ``AccountChanged``, ``ListRefused``, ``InvalidContent``, ``Refused``.
        """
        files = list(attachments)
        fields: Json = {"text": text, "mentions": list(mentions), "attachments": files}
        if reply_to is not None:
            fields["reply_to"] = _ref(reply_to)
        return await self._send("text", room_id, files=[file["id"] for file in files], **fields)

    async def edit(self, message: Message, text: str) -> Message:
        """Replaces the text of an own message."""
        return await self._send("edit", message.room_id, target=_ref(message), text=text)

    async def delete(self, message: Message) -> None:
        """Takes an own message back, for everybody: their clients drop it, and the server what was not fetched."""
        await self._send("delete", message.room_id, target=_ref(message))
        await self.mana.request("message_delete", message_id=message.message_id)

    async def react(self, message: Message, emoji: str, *, remove: bool = False) -> Message:
        """Puts an emoji on a message, or takes it back."""
        return await self._send("reaction", message.room_id, target=_ref(message), emoji=emoji, remove=remove or None)

    async def send_custom(self, room_id: str, data: Any) -> Message:
        """Sends any JSON, for an application that knows what it means."""
        return await self._send("custom", room_id, data=data)

    async def _send(self, kind: str, room_id: str, *, files: Iterable[str] = (), **fields: Any) -> Message:
        self.directory.need_listed()
        content = contents.content(kind, room_id, self.context.address, **fields)
        return await self.sender.send(content, files)

    async def send_app(self, name: str, data: Any, addresses: Iterable[Address], *, room_id: str | None = None) -> None:
        """Sends a control message of the application's own to devices."""
        self.directory.need_listed()
        await self.controls.send(contents.control("app", name=name, data=data), addresses, room_id=room_id)

    def messages(self, room_id: str) -> list[Message]:
        """Everything of a room that this device knows, contents as they came, in order."""
        with self.context.journal.transaction() as entries:
            return entries.messages(room_id)

    def timeline(self, room_id: str) -> list[Shown]:
        """The room as people see it: edits, deletions and reactions applied."""
        return shown(self.messages(room_id))

    # -- People ------------------------------------------------------------------------------------------------------

    async def direct(self, user_id: str) -> str:
        """The id of the direct room with a user."""
        return await self.groups.direct(user_id)

    async def verify(self, user_id: str, verified: bool = True) -> None:
        """The user has compared the safety number of ``directory.safety_number``; their other devices are told."""
        self.directory.set_verified(user_id, verified)
        await self.backups.share_trust(user_id)

    async def trust_account(self, user_id: str) -> None:
        """The user agrees to the account key that ``account_changed`` was about; what waited for that is read."""
        self.directory.trust_account(user_id)
        await self.receiver.reopen(lambda row: bool(row["frame"]["from"] == user_id))

    async def seal(
        self, user_ids: Iterable[str], data: Any, *, purpose: str, context: str = ""
    ) -> Mapping[str, Mapping[str, str]]:
        """See ``Sealing.seal``."""
        return await self.sealing.seal(user_ids, data, purpose=purpose, context=context)

    async def open(self, user_id: str, device_id: str, text: str, *, purpose: str, context: str = "") -> Any:
        """See ``Sealing.open``."""
        return await self.sealing.open(user_id, device_id, text, purpose=purpose, context=context)


def _ref(message: Message) -> Json:
    if message.content is None:
        raise InvalidContent("the message can't be read here")
    return {"from": message.content["from"], "id": message.content["id"]}


async def _called(handler: Callable[[Any], Awaitable[None] | None], value: Any) -> None:
    try:
        result = handler(value)
        if inspect.isawaitable(result):
            await result
    except Exception:
        logger.exception("A handler of the application failed.")
