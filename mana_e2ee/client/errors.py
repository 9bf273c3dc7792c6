"""What can go wrong for a client beyond the core's errors (`mana_e2ee.core.errors`) and the server's refusals."""

from __future__ import annotations

from collections.abc import Iterable


class EncryptionError(Exception):
    """The base of these. ``code`` is stable."""

    code = "encryption_error"


class InvalidContent(EncryptionError):
    """What was decrypted is not what docs/e2ee-clients.md describes, or is of another room or sender."""

    code = "invalid_content"


class NotLinked(EncryptionError):
    """This device is in no device list of its user: link it, or restore the backup."""

    code = "not_linked"


class UnknownMember(EncryptionError):
    """The server names people in the room whom its members have not let in. ``users`` are their ids."""

    code = "unknown_member"

    def __init__(self, room_id: str, users: Iterable[str]) -> None:
        self.room_id = room_id
        self.users = sorted(users)
        super().__init__(f"nobody has let {', '.join(self.users)} into this group: admit them, or have them removed")


class NoDevices(EncryptionError):
    """Nobody else in the room has a device that could read it, or so the server says."""

    code = "no_devices"


class AccountChanged(EncryptionError):
    """A user has another account key than the one known: nothing is sent to them until the user consents."""

    code = "account_changed"

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        super().__init__(f"the account key of {user_id!r} has changed: compare safety numbers")


class ListRefused(EncryptionError):
    """The server gave a device list that rolls back, forks, or is not signed: it is not what that user published."""

    code = "stale_device_list"

    def __init__(self, user_id: str, why: str) -> None:
        self.user_id = user_id
        super().__init__(f"the device list of {user_id!r} was refused: {why}")


class LinkRefused(EncryptionError):
    """A link code that is mistyped, used up, or names no new device of the user."""

    code = "link_refused"
