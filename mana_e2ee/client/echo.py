"""A bot that answers each encrypted text with the same: ``python -m mana_e2ee.client.echo --help``.

It shows how little an application needs, and is somebody to talk to in tests.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

from mana.client import Account
from mana_e2ee.client.client import E2EEClient
from mana_e2ee.client.journal import Message
from mana_e2ee.core import SQLiteStore

logger = logging.getLogger("mana_e2ee.echo")


async def echo(client: E2EEClient, queue: asyncio.Queue[Message]) -> None:
    """Answers what the queue brings."""
    while True:
        message = await queue.get()
        content = message.content or {}
        try:
            await client.send(message.room_id, f"echo: {content['text']}", reply_to=message)
        except Exception as error:
            logger.warning("An answer failed: %s", error)


async def main(arguments: argparse.Namespace) -> None:
    """Runs until it is asked to end."""
    store = SQLiteStore(arguments.store)
    account = Account(arguments.username, arguments.password, register=arguments.register)
    client = E2EEClient(arguments.url, account, store, device_id=arguments.device)
    queue: asyncio.Queue[Message] = asyncio.Queue()

    def heard(message: Message) -> None:
        content = message.content or {}
        if content.get("kind") == "text" and message.sender != client.context.address.user and not message.healed:
            queue.put_nowait(message)

    client.on_message(heard)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with client:
        print(f"ready {client.context.address.user} {client.context.address.device}", flush=True)  # noqa: T201
        answering = asyncio.create_task(echo(client, queue))
        await stop.wait()
        answering.cancel()
    store.close()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("mana_e2ee.client.echo", description=__doc__)
    made.add_argument("--url", required=True, help="the site, such as http://127.0.0.1:8000")
    made.add_argument("--username", required=True)
    made.add_argument("--password", required=True)
    made.add_argument("--store", required=True, help="the file with its keys, made if it is not there")
    made.add_argument("--device", default="echo", help="the device id of a new store")
    made.add_argument("--register", action="store_true", help="make the account if there is none")
    return made


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    asyncio.run(main(parser().parse_args()))
