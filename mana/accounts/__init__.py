"""Accounts: who a connection is. Profiles, devices, sign-ins with their JWTs, one-use tickets, roles.

The user model stays the project's own (``AUTH_USER_MODEL``). ``from mana import accounts`` gives the use cases of
``mana.accounts.services``: ``accounts.register(...)``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from mana.facade import service

    return service(__name__, name)
