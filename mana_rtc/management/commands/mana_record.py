"""``manage.py mana_record ROOM``: records the call that goes on in a room, by a user who may (docs/calls.md)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError

from mana import accounts, signals
from mana.conf import settings
from mana.protocol import ManaError
from mana.realtime.bus import connects_processes
from mana.realtime.database import DatabaseThreads
from mana_rtc import services, stores
from mana_rtc.models import Call
from mana_rtc.sfu.backend import SfuError

logger = logging.getLogger("mana.rtc.recorder")

#: Seconds between looks at who else is in the call.
LOOK = 1.0
MEBIBYTE = 2**20


class Command(BaseCommand):
    """A participant that all others see recording, until the call is over, nobody else is in it, a limit is reached, or
    SIGTERM. Each file is told as a line of JSON, when it begins and when it is finished.
    """

    help = "Records the call that goes on in a room to files, one for each track. Everybody in the call is told."

    def add_arguments(self, parser: CommandParser) -> None:
        """What is recorded, by whom, and how much of it."""
        parser.add_argument("room", metavar="ROOM", help="id of the room")
        parser.add_argument("--as", dest="user", required=True, metavar="USERNAME", help="who records: a member")
        parser.add_argument("--folder", type=Path, required=True, help="where the files go; made if it is not there")
        parser.add_argument(
            "--url", action="append", required=True, help="WebSocket of a node, like ws://127.0.0.1:8000/ws; or several"
        )
        parser.add_argument("--max-megabytes", type=int, default=2048, help="of all files together (2048)")
        parser.add_argument("--max-minutes", type=float, default=240, help="(240)")
        parser.add_argument("--max-tracks", type=int, default=32, help="at a time (32)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Records."""
        try:
            import av  # noqa: F401  aiortc brings it

            from mana_rtc import callbot  # noqa: F401  it needs aiortc
        except ImportError as error:
            raise CommandError(f'{error}: pip install "django-mana[bots]"') from error
        if not connects_processes(get_channel_layer(settings.CHANNEL_LAYER)):
            raise CommandError("People are told over a channel layer that connects processes, such as that over Redis.")
        users = get_user_model()
        try:
            user = users._default_manager.get_by_natural_key(options["user"])
            call = services.recordable(options["room"], user)
            options["folder"].mkdir(mode=0o700, parents=True, exist_ok=True)
        except users.DoesNotExist:
            raise CommandError(f"There is no user {options['user']!r}.") from None
        except (ManaError, OSError) as error:
            raise CommandError(str(error)) from error
        tokens = Tokens(user)
        try:
            asyncio.run(self._run(call, user, tokens, options))
        except (ManaError, SfuError, TimeoutError) as error:
            raise CommandError(f"The call can't be recorded: {error or 'no node answers'}") from error
        finally:
            tokens.end()

    async def _run(self, call: Call, user: Any, tokens: Tokens, options: dict[str, Any]) -> None:
        from mana_rtc.callbot import CallBot
        from mana_rtc.recorder import Limits, Recorder

        database = DatabaseThreads(1, "record")
        telling: set[asyncio.Task[None]] = set()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)

        def told(event: dict[str, Any]) -> None:
            self.stdout.write(json.dumps(event))
            self.stdout.flush()
            if event["event"] == "finished":
                telling.add(loop.create_task(database.run(send_recorded, call, event)))

        async def still() -> bool:
            try:
                return await database.run(goes_on, call, user)
            except (OperationalError, InterfaceError) as error:
                logger.warning("It is not known whether the call goes on: %s", error)
                return True

        limits = Limits(most_bytes=options["max_megabytes"] * MEBIBYTE, most_tracks=options["max_tracks"])
        recorder = Recorder(options["folder"], limits, told)
        bot = CallBot(options["url"], lambda: database.run(tokens.access), on_track=recorder.track)
        try:
            async with bot:
                await bot.request("call_accept", call_id=call.key)
                try:
                    await bot.request("mute", room_id=call.room.key, payload=True)
                    # Everybody is told before anything of them is received.
                    await database.run(services.begin_recording, call.key, user)
                    await bot.join(call.room.key)
                    await self._until_over(bot, recorder, ended, still, options)
                finally:
                    await recorder.stop()
                    if not bot.over.is_set():
                        with contextlib.suppress(SfuError):  # without a connection, its place runs out
                            await bot.request("call_end", call_id=call.key)
        finally:
            await asyncio.gather(*telling)
            await asyncio.to_thread(database.close)

    async def _until_over(
        self,
        bot: Any,
        recorder: Any,
        ended: asyncio.Event,
        goes_on: Callable[[], Awaitable[bool]],
        options: dict[str, Any],
    ) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (bot.over, recorder.full, ended)]
        try:
            async with asyncio.timeout(options["max_minutes"] * 60):
                while not any(wait.done() for wait in waits) and await goes_on():
                    await asyncio.wait(waits, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            logger.warning("The recording is over: it is as long as it may become.")
        finally:
            for wait in waits:
                wait.cancel()
        if recorder.full.is_set():
            logger.warning("The recording is over: its files are as large as they may become.")


class Tokens:
    """The sign-in that a recording has of its own, which ends with it. Synchronous."""

    def __init__(self, user: Any) -> None:
        self._user = user
        self._refresh = ""
        self._sign_in: str | None = None

    def access(self) -> str:
        """A token to connect with."""
        if self._refresh:
            tokens = accounts.refresh(self._refresh)
        else:
            tokens = accounts.sign_in(self._user, accounts.Client(user_agent="mana_record"))
            self._sign_in = accounts.identity_from_token(tokens.access).sign_in_id
        self._refresh = tokens.refresh
        return str(tokens.access)

    def end(self) -> None:
        """Signs out."""
        accounts.sign_out(self._user, self._sign_in)


def goes_on(call: Call, user: Any) -> bool:
    """Whether the recorder is in the call, and somebody else is. A group's call goes on as long as anybody is in it:
    the recorder alone must not be that.
    """
    inside = set(stores.joined_in(call).values_list("user_id", flat=True))
    return user.pk in inside and len(inside) > 1


def send_recorded(call: Call, event: dict[str, Any]) -> None:
    """Tells the project of a file."""
    signals.track_recorded.send_robust(
        Call,
        call=call,
        path=Path(event["path"]),
        user_id=event["user_id"],
        source=event["source"],
        started_at=datetime.fromtimestamp(event["started_at"], UTC),
        seconds=event["seconds"],
        size=event["bytes"],
    )
