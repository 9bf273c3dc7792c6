"""``manage.py demo``: everything that ``tox -e demo`` needs: migrate, make people and a room, serve."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from demo_project.examples.custom_db.models import Item
from mana.accounts import services as accounts
from mana.messaging import services
from mana.messaging.stores import room_by_key

PASSWORD = "mana-demo-2026"  # noqa: S105  printed for everybody to use
PEOPLE = {"ada": "Ada Lovelace", "grace": "Grace Hopper", "linus": "Linus Pauling"}
ROOM = "lobby"
SHOP = {"Tea": 100, "Biscuits": 1}  # of the example custom_db: name -> stock
CHAT = (
    ("ada", "Welcome to the lobby! Open this page in a second browser as grace and write something."),
    ("grace", "Everything here is stored before it is acknowledged, and nobody sees it twice."),
)


class Command(BaseCommand):
    """Prepares the demo and serves it with daphne."""

    help = "Migrates, creates demo users and a room, prints the address and the logins, and serves with daphne."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--bind``, ``--port``, ``--prepare-only``."""
        parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
        parser.add_argument("--prepare-only", action="store_true", help="do not serve")

    def handle(self, *args: Any, **options: Any) -> None:
        """Does it."""
        bind, port = options["bind"], options["port"]
        if not options["prepare_only"]:
            _check_free(bind, port)
        call_command("migrate", verbosity=0)
        self._make_people()
        self._make_room()
        self._make_shop()
        if options["prepare_only"]:
            self.stdout.write(self.style.SUCCESS("The demo is ready."))
            return
        names = ", ".join(PEOPLE)
        self.stdout.write(
            f"\n  The messenger:  {self.style.SUCCESS(f'http://{bind}:{port}/')}\n"
            f"  The admin:      http://{bind}:{port}/admin/  (admin)\n"
            f"  Small examples: http://{bind}:{port}/examples/\n\n"
            f"  Sign in as {names} or admin, password: {self.style.SUCCESS(PASSWORD)}\n"
            f"  Ctrl+C stops it.\n"
        )
        self.stdout.flush()
        os.execv(  # noqa: S606  daphne takes this process over, so that it gets the signals
            sys.executable,
            [
                sys.executable,
                "-m",
                "daphne",
                "-b",
                bind,
                "-p",
                str(port),
                "-v",
                "0",
                "demo_project.asgi:application",
            ],
        )

    def _make_people(self) -> None:
        users = get_user_model()._default_manager
        for username, display_name in PEOPLE.items():
            if not users.filter(username=username).exists():
                user = accounts.register(username=username, password=PASSWORD)
                accounts.update_profile(user, display_name=display_name)
        if not users.filter(username="admin").exists():
            get_user_model()._default_manager.create_superuser("admin", password=PASSWORD)

    def _make_room(self) -> None:
        if room_by_key(ROOM) is not None:
            return
        people = {user.get_username(): user for user in get_user_model()._default_manager.filter(username__in=PEOPLE)}
        first, *others = people.values()
        services.create_room(
            first,
            key=ROOM,
            name="Lobby",
            topic="Say hello",
            is_private=False,
            shares_history=True,
            members=others,
        )
        for username, text in CHAT:
            services.send(ROOM, people[username], {"text": text}, ack_id=f"demo-{username}")

    def _make_shop(self) -> None:
        if not Item.objects.exists():
            seller = get_user_model()._default_manager.get(username="linus")
            Item.objects.bulk_create([Item(name=name, stock=stock, seller=seller) for name, stock in SHOP.items()])


def _check_free(bind: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise CommandError(f"{bind}:{port} can't be used ({error.strerror}). Choose another with --port.") from None
