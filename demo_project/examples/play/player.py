"""Plays a file into the call of a room, or begins one there: a user like any other, who speaks and is seen.

::

    PLAYER_PASSWORD=... python -m demo_project.examples.play.player ROOM FILE --as robot --site http://127.0.0.1:8000

``pip install "django-mana[bots]"``. Whatever FFmpeg reads can be played. Exit code 1 if nobody answered, or the call
was over before the file was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import urllib.request
from typing import Any

import av
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamTrack

from mana_rtc.callbot import CallBot
from mana_rtc.sfu.backend import Source


class SignIn:
    """Tokens for a WebSocket, by REST; a new one whenever the bot connects."""

    def __init__(self, site: str, username: str, password: str) -> None:
        self._site = site
        self._credentials = {"username": username, "password": password}
        self._refresh = ""

    async def token(self) -> str:
        """An access token. Raises ``OSError``."""
        path, body = ("token/refresh", {"refresh": self._refresh}) if self._refresh else ("token", self._credentials)
        tokens = await asyncio.to_thread(self._post, f"{self._site}/api/auth/{path}", body)
        self._refresh = tokens["refresh"]
        return str(tokens["access"])

    @staticmethod
    def _post(url: str, body: dict[str, str]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  the operator's own site
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)


class Player:
    """One playing of a file. ``finished`` is set when all of it was sent."""

    def __init__(self, path: str, site: str, sign_in: SignIn) -> None:
        self.finished = asyncio.Event()
        self._path = path
        self._playing: set[MediaStreamTrack] = set()
        self._answered = asyncio.Event()
        self._bot = CallBot(
            [f"{site.replace('http', 'ws', 1)}/ws"],
            sign_in.token,
            make_tracks=self._tracks,
            on_frame=lambda frame: self._answered.set() if frame["type"] == "call_accept" else None,
        )

    async def play(self, room: str) -> bool:
        """Joins the room's call, or rings everybody there and waits until somebody answers; whether all was played."""
        with av.open(self._path) as file:
            kinds = {"audio": bool(file.streams.audio), "video": bool(file.streams.video)}
        async with self._bot as bot:
            await bot.request("call_start", room_id=room, payload=kinds)
            if not kinds["audio"]:
                await bot.request("mute", room_id=room, payload=True)
            await self._first(self._answered, bot.over)
            if bot.over.is_set():
                return False
            await bot.join(room)
            await self._first(self.finished, bot.over)
            if not bot.over.is_set():
                await bot.request("call_end", call_id=bot.call_id)
            return self.finished.is_set()

    def _tracks(self) -> dict[Source, MediaStreamTrack]:
        """The file's, from its beginning: asked for anew when the bot had to join anew."""
        media = MediaPlayer(self._path)
        found: dict[Source, MediaStreamTrack | None] = {"microphone": media.audio, "camera": media.video}
        tracks = {source: track for source, track in found.items() if track is not None}
        self._playing = set(tracks.values())
        for track in tracks.values():
            track.on("ended", lambda track=track: self._ended(track))
        return tracks

    def _ended(self, track: MediaStreamTrack) -> None:
        # Tracks end with their connection as well, and others take their place then.
        if track in self._playing and self._bot.inside.is_set():
            self._playing.discard(track)
            if not self._playing:
                self.finished.set()

    @staticmethod
    async def _first(*events: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Plays a file into the call of a room.")
    parser.add_argument("room", help="id of the room, which the player is a member of")
    parser.add_argument("file", help="whatever FFmpeg reads")
    parser.add_argument("--as", dest="username", required=True, help="who plays; PLAYER_PASSWORD is their password")
    parser.add_argument("--site", default="http://127.0.0.1:8000")
    options = parser.parse_args()
    site = options.site.rstrip("/")
    sign_in = SignIn(site, options.username, os.environ["PLAYER_PASSWORD"])
    return 0 if asyncio.run(Player(options.file, site, sign_in).play(options.room)) else 1


if __name__ == "__main__":
    sys.exit(main())
