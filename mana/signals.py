"""Every public hook, as Django signals.

Receivers may be sync or async. But for ``message_sending`` they run after the commit, through ``send_robust`` /
``asend_robust``: a receiver that raises is logged by the logger ``django.dispatch`` and changes nothing for the
message, its sender or other receivers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.dispatch import Signal

from mana.protocol import ManaError


class VetoSignal(Signal):
    """A signal whose receivers may refuse with ``ManaError``; that is an answer, and not logged as a failure."""

    def _log_robust_failure(self, receiver: Callable[..., Any], err: Exception) -> None:
        if not isinstance(err, ManaError):
            super()._log_robust_failure(receiver, err)  # type: ignore[misc]  # Django's own, not in its stubs


# Emitted after an account was registered, by REST, by code or as a guest.
# Arguments: sender (the user model), user.
account_created = Signal()

# Emitted before an account is deleted, while it still exists: leave, archive or hand over what is theirs. A receiver
# that raises keeps the account.
# Arguments: sender (the user model), user.
account_deleting = Signal()

# Emitted after an account was deleted or made anonymous.
# Arguments: sender (the user model), user_id (the id on the wire), pk (the former primary key).
account_deleted = Signal()

# Emitted after somebody changed their profile or name.
# Arguments: sender (the user model), user.
profile_changed = Signal()

# Emitted after somebody asked another to become contacts.
# Arguments: sender (mana.contacts.models.ContactRequest), user (who asks), other (who is asked).
contact_requested = Signal()

# Emitted after two people became contacts.
# Arguments: sender (mana.contacts.models.Contact), user (who accepted), other.
contact_accepted = Signal()

# Emitted after somebody blocked another, or took it back.
# Arguments: sender (mana.contacts.models.Block), user, other, blocked (bool).
block_changed = Signal()

# Emitted after a preference was changed or reset.
# Arguments: sender (mana.preferences.models.Preference), user, key, value.
preference_changed = Signal()

# Emitted after somebody has shown that an e-mail address or phone number is theirs.
# Arguments: sender (the user model), user, kind ("email" or "phone").
identifier_verified = Signal()

# Emitted after notifications were stored.
# Arguments: sender (mana.notifications.models.Notification), notifications (the rows).
notifications_sent = Signal()

# Emitted before a message or an edit is stored, on every way that it may come. A receiver refuses it by raising
# ManaError, or changes it by assigning to draft.payload; any other exception is logged and lets it pass. The order of
# events is not locked meanwhile, and synchronous receivers run in a thread, so they may ask a database or a service.
# Arguments: sender (mana.messaging.models.Message), draft (mana.messaging.drafts.Draft: room_key, sender, payload,
# mentions, attachments, reply_to, edits).
message_sending = VetoSignal()

# Emitted once per message, after its transaction committed, on the node that committed it, before it is announced.
# Arguments: sender (mana.messaging.models.Message), message (the stored row; message.payload is the parsed payload,
# message.mentions the wire ids of those whom it mentions, "@all" for everybody in the room).
message_stored = Signal()

# Emitted once per message, after it was handed to the sessions of this node and to the channel layer.
# Arguments: sender (mana.messaging.models.Message), message.
message_sent = Signal()

# Emitted after a message was edited, or deleted for everyone.
# Arguments: sender (mana.messaging.models.Message), message (as it is now), event (the sequenced row of the change).
message_edited = Signal()
message_deleted = Signal()

# Emitted after somebody put an emoji on a message, or took it back.
# Arguments: sender (mana.messaging.models.Message), message, event, emoji, removed (bool).
reaction_changed = Signal()

# Emitted after any change of a room: its settings, members, roles, pins.
# Arguments: sender (mana.messaging.models.Room), room, action (as on the wire), event.
room_changed = Signal()

# Emitted after a user became a member of a room.
# Arguments: sender (mana.messaging.models.Room), room, user, event (the sequenced Message row of kind "room").
user_joined = Signal()

# Emitted after a user left a room or was removed from it.
# Arguments: sender (mana.messaging.models.Room), room, user, event, removed (bool: by somebody else).
user_left = Signal()

# Emitted for every frame other than `message` that a session sent and that its handler accepted.
# Arguments: sender (the frame's type on the wire, so that a receiver can connect with sender="typing"), frame, session.
signal_received = Signal()

# Emitted after a user published a list of their devices, or dropped it all (mana_e2ee).
# Arguments: sender (mana_e2ee.models.DeviceList), user_id (the id on the wire), epoch (None: dropped).
device_list_changed = Signal()

# Emitted once per call, on whatever node began it: when it begins to ring, or is busy at once.
# Arguments: sender (mana_rtc.models.Call), call (state, room, started_by).
call_started = Signal()

# Emitted once per call, on the one node that ended it, also when everybody vanished or their node was killed.
# Arguments: sender (mana_rtc.models.Call), call (reason; answered_at is None if nobody answered).
call_ended = Signal()

# Emitted in the process of `manage.py mana_record`, once for each file, when that is finished.
# Arguments: sender (mana_rtc.models.Call), call, path (pathlib.Path), user_id (on the wire: whose track it is), source
# ("camera", "microphone", "screen" or "screen_audio"), started_at (of its first frame), seconds, size (bytes).
track_recorded = Signal()

# Emitted after a report was filed, and after a moderator has handled one.
# Arguments: sender (mana.moderation.models.Report), report; report_handled also has resolution (what was done).
report_filed = Signal()
report_handled = Signal()

# Emitted after a moderator warned a user, who is told by a `warning` frame.
# Arguments: sender (the user model), user, text, room_key, message_id (the latter two may be None).
user_warned = Signal()

# Emitted after an entry was added to the audit log.
# Arguments: sender (mana.moderation.models.AuditEntry), entry.
audited = Signal()
