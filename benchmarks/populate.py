"""``python -m benchmarks.populate``: makes users, sign-ins and rooms in the configured database of the demo.

Reads ``sizes``, those of the rooms, and ``messages``, how many each is to have, from its standard input; writes each
room's key, its members' tokens, and the cursor before its messages.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import Any


def main() -> None:
    """Makes everything through the services that the project itself uses."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.db import transaction

    from mana.accounts import services as accounts
    from mana.accounts.models import Profile
    from mana.messaging import services as messaging
    from mana.messaging.stores import latest_sequence

    given: Any = json.load(sys.stdin)
    sizes: list[int] = given["sizes"]
    user_model = get_user_model()
    users = [user_model(username=f"user-{number}", password="!") for number in range(sum(sizes))]
    with transaction.atomic():
        user_model._default_manager.bulk_create(users)
        users = list(user_model._default_manager.filter(password="!").order_by("pk"))
        Profile.objects.bulk_create([Profile(user=user) for user in users])
        tokens = [accounts.sign_in(user).access for user in users]
    everybody = iter(zip(users, tokens, strict=True))
    rooms: list[dict[str, Any]] = []
    made = []
    for number, size in enumerate(sizes):
        members = list(islice(everybody, size))
        people = [user for user, _ in members]
        room = messaging.create_room(people[0], name=f"Room {number}", members=people[1:]).room
        rooms.append({"room": room.key, "tokens": [token for _, token in members]})
        made.append((room, people))
    cursor = latest_sequence()
    for room, people in made:
        for number in range(given["messages"]):
            messaging.send(room, people[number % len(people)], "x" * 200)
    for one in rooms:
        one["cursor"] = cursor
    json.dump(rooms, sys.stdout)


if __name__ == "__main__":
    main()
