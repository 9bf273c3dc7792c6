"""The ``MANA`` setting: every key, its default and its meaning, in one place.

A project overrides keys with one dict in its settings module::

    MANA = {"RATE_LIMIT_PER_SECOND": 20}

Code reads ``mana.conf.settings.RATE_LIMIT_PER_SECOND``. The page ``docs/settings.md`` is made from this module by
``manage.py mana_settings``; unknown keys and wrong types are reported by the system checks ``mana.E001`` and
``mana.E002``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any, Generic, TypeVar, overload

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

T = TypeVar("T")


class Setting(Generic[T]):
    """One key of ``MANA``. Reading it on an instance gives the project's value or the default.

    ``minimum`` bounds numbers from below. The type of the default is the type that a value must have; an ``int`` is
    accepted where a ``float`` is meant, and a list or tuple of strings where a list is.
    """

    def __init__(self, default: T, help_text: str, *, section: str, minimum: float | None = None) -> None:
        self.default = default
        self.help_text = " ".join(help_text.split())
        self.section = section
        self.minimum = minimum
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: Settings, owner: type) -> T: ...
    def __get__(self, instance: Settings | None, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        value: T = self.resolve(user_settings().get(self.name, self.default))
        instance.__dict__[self.name] = value  # a non-data descriptor: the next read does not come here
        return value

    def resolve(self, value: Any) -> Any:
        """The value that code sees, made from the one that the project wrote."""
        return value

    def problem(self, value: Any) -> str | None:
        """What is wrong with ``value``, in words for the developer, or ``None``."""
        expected: type = type(self.default)
        if expected is float and type(value) is int:
            expected = int
        if expected in (list, tuple):
            if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
                return f"must be a list of strings, not {value!r}"
        elif type(value) is not expected:
            return f"must be of type {expected.__name__}, not {type(value).__name__} ({value!r})"
        if self.minimum is not None and isinstance(value, int | float) and not value >= self.minimum:
            return f"must be at least {self.minimum}, not {value!r}"
        return None


class NetworksSetting(Setting[list[str]]):
    """IP networks, and ``unix`` for Unix sockets."""

    def problem(self, value: Any) -> str | None:
        """As of any setting; and each must be a network."""
        wrong = super().problem(value)
        if wrong is not None:
            return wrong
        for text in value:
            try:
                if text != "unix":
                    ip_network(text, strict=False)
            except ValueError as error:
                return f"must name networks: {error}"
        return None


class ImportedSetting(Setting[Any]):
    """A dotted path, or several, read as the objects they name."""

    def resolve(self, value: Any) -> Any:
        try:
            if isinstance(value, str):
                return import_string(value)
            return tuple(import_string(path) for path in value)
        except ImportError as error:
            raise ImportError(f"MANA[{self.name!r}] names {value!r}, which can't be imported: {error}") from error

    def problem(self, value: Any) -> str | None:
        wrong_type = super().problem(value)
        if wrong_type:
            return wrong_type
        try:
            self.resolve(value)
        except ImportError as error:
            return str(error)
        return None


class ChoiceSetting(Setting[str]):
    """One of a few words."""

    def __init__(self, default: str, help_text: str, *, section: str, choices: tuple[str, ...]) -> None:
        super().__init__(default, help_text, section=section)
        self.choices = choices

    def problem(self, value: Any) -> str | None:
        if value in self.choices:
            return None
        return f"must be one of {', '.join(map(repr, self.choices))}, not {value!r}"


class RateSetting(Setting[str]):
    """How often something may be done: ``"10/minute"``; empty for no limit."""

    PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}

    def resolve(self, value: Any) -> Any:
        """``(count, seconds)``, or ``None`` for no limit."""
        if not value:
            return None
        count, _, period = str(value).partition("/")
        return int(count), self.PERIODS[period]

    def problem(self, value: Any) -> str | None:
        try:
            rate = self.resolve(value) if isinstance(value, str) else (0, 0)
        except (ValueError, KeyError):
            rate = (0, 0)
        if rate is None or rate[0] > 0:
            return None
        return f"must be a rate such as '10/minute' (second, minute, hour, day) or empty, not {value!r}"


class StoreSetting(ImportedSetting):
    """The dotted path of a class that does all that the default one does."""

    def problem(self, value: Any) -> str | None:
        wrong = super().problem(value)
        if wrong:
            return wrong
        given, expected = self.resolve(value), self.resolve(self.default)
        missing = [name for name in vars(expected) if not name.startswith("_") and not hasattr(given, name)]
        return f"names {value!r}, which has no {', '.join(sorted(missing))}" if missing else None


class Settings:
    """All keys. Sections appear in the documentation in the order of their first key."""

    # -- Connecting --------------------------------------------------------------------------------------------------
    ENABLE_AUTH = Setting(
        True,
        """Require every connection to prove who it is. With ``False`` a client may name itself with
        ``?user_id=&username=`` and becomes a guest of that name: for development only.""",
        section="Connecting",
    )
    ALLOW_QUERY_TOKEN = Setting(
        False,
        """Accept ``?token=<jwt>`` in the WebSocket URL. URLs end in access logs and histories: prefer the
        ``Authorization`` header, the ``bearer.<jwt>`` subprotocol or a one-use ticket.""",
        section="Connecting",
    )
    ALLOWED_ORIGINS = Setting[list[str]](
        [],
        """Origins (``https://example.com``, ``https://*.example.com``) whose pages may open a socket. Empty: only
        the host that serves the socket. ``["*"]``: all.""",
        section="Connecting",
    )
    AUTH_TIMEOUT = Setting(
        10.0,
        """Seconds that a connection without credentials has for its first ``auth`` frame.""",
        section="Connecting",
        minimum=0.1,
    )
    TICKET_LIFETIME = Setting(
        30, """Seconds within which a WebSocket ticket must be used.""", section="Connecting", minimum=1
    )
    AUTHENTICATORS = ImportedSetting(
        [
            "mana.accounts.connections.bearer_header",
            "mana.accounts.connections.bearer_subprotocol",
            "mana.accounts.connections.ticket",
            "mana.accounts.connections.query_token",
            "mana.accounts.connections.session_cookie",
            "mana.accounts.connections.named_guest",
        ],
        """Dotted paths of the ways in which a handshake can prove who it is, tried in order; the first that applies
        decides. Each is ``authenticator(handshake) -> Identity | None`` and raises ``Refused``.""",
        section="Connecting",
    )
    TOKEN_AUTHENTICATOR = ImportedSetting(
        "mana.accounts.connections.authenticate_token",
        """Dotted path of the function ``(token) -> Identity`` behind the ``auth`` frame.""",
        section="Connecting",
    )
    REST_AUTHENTICATION = ImportedSetting(
        [
            "mana.accounts.authentication.JWTAuthentication",
            "rest_framework.authentication.SessionAuthentication",
        ],
        """Dotted paths of the Django REST framework authentication classes of the REST API.""",
        section="Connecting",
    )
    REGISTRATION_OPEN = Setting(
        True, """Let anyone make an account with ``POST /api/auth/register``.""", section="Connecting"
    )

    # -- Accounts ----------------------------------------------------------------------------------------------------
    EMAIL = ChoiceSetting(
        "optional",
        """Whether a new account gives an e-mail address: ``"required"``, ``"optional"`` or ``"off"``.""",
        section="Accounts",
        choices=("required", "optional", "off"),
    )
    PHONE = ChoiceSetting(
        "off",
        """Whether a new account gives a phone number: ``"required"``, ``"optional"`` or ``"off"``.""",
        section="Accounts",
        choices=("required", "optional", "off"),
    )
    UNIQUE_EMAIL = Setting(
        True,
        """One account per e-mail address. Only then can people sign in with it.""",
        section="Accounts",
    )
    UNIQUE_PHONE = Setting(
        True, """One account per phone number. Only then can people sign in with it.""", section="Accounts"
    )
    GUESTS = Setting(
        False,
        """Let anyone make a guest account, without a password, with ``POST /api/auth/guest``.""",
        section="Accounts",
    )
    DEFAULT_ROLE = ChoiceSetting(
        "user",
        """The role of accounts that are in none of the groups ``admin``, ``moderator``, ``user`` and ``guest``, such as
        those that your own code makes. Empty: they may do nothing.""",
        section="Accounts",
        choices=("admin", "moderator", "user", "guest", ""),
    )
    PERMISSIONS_CACHE = Setting(
        15.0,
        """Seconds that a process may remember what people may do. A change made in the same process counts at once.""",
        section="Accounts",
        minimum=0,
    )
    ACCOUNT_DELETION = ChoiceSetting(
        "delete",
        """What becomes of the row of a deleted account: ``"delete"`` removes it, ``"anonymise"`` keeps an empty,
        inactive one. Messages stay in their rooms either way, without a sender's name.""",
        section="Accounts",
        choices=("delete", "anonymise"),
    )
    PASSWORD_RESET_URL = Setting(
        "",
        """The page that the mail for a forgotten password links to; ``{uid}`` and ``{token}`` are filled in. Empty: the
        mail holds the two for the user to type.""",
        section="Accounts",
    )
    EMAIL_VERIFICATION = ChoiceSetting(
        "off",
        """Whether people show that an e-mail address is theirs, with a token that is mailed to it. ``"optional"``: a
        mail is sent for each new address. ``"required"``: until then nobody signs in with the address, is found by it,
        or keeps it from its owner. ``"off"``: a mail is sent to who asks for it.""",
        section="Accounts",
        choices=("required", "optional", "off"),
    )
    EMAIL_VERIFICATION_URL = Setting(
        "",
        """The page that the mail to a new address links to, like ``PASSWORD_RESET_URL``.""",
        section="Accounts",
    )
    PHONE_VERIFICATION = ChoiceSetting(
        "off",
        """``"required"``: until a phone number is verified nobody signs in with it, is found by it, or keeps it from
        its owner.""",
        section="Accounts",
        choices=("required", "off"),
    )
    PHONE_VERIFIER = ImportedSetting(
        "mana.accounts.phones.PhoneVerifier",
        """Dotted path of the class that sends codes to phones and checks them; the default one sends none.""",
        section="Accounts",
    )
    AVATAR_MAX_BYTES = Setting(
        5 * 1024 * 1024, """Bytes of the largest image that is taken as an avatar.""", section="Accounts", minimum=1024
    )
    AVATAR_MAX_PIXELS = Setting(
        40_000_000,
        """Pixels of the largest image that is taken as an avatar. A small file can unpack to a huge picture.""",
        section="Accounts",
        minimum=1024,
    )
    AVATAR_SIZE = Setting(
        256,
        """Width and height of a stored avatar, of a person or a room, in pixels.""",
        section="Accounts",
        minimum=16,
    )
    AVATAR_STORAGE = Setting("default", """Alias in ``STORAGES`` of where avatars are kept.""", section="Accounts")
    LAST_SEEN_TO = ChoiceSetting(
        "everyone",
        """Who sees whether somebody is online, and was last, as long as they choose nothing else: ``"everyone"`` in a
        common room, ``"contacts"`` or ``"nobody"``.""",
        section="Accounts",
        choices=("everyone", "contacts", "nobody"),
    )
    DIRECT_MESSAGES_FROM = ChoiceSetting(
        "everyone",
        """Who may write to somebody directly as long as they choose nothing else: ``"everyone"`` or
        ``"contacts"``.""",
        section="Accounts",
        choices=("everyone", "contacts"),
    )

    # -- Attempts ----------------------------------------------------------------------------------------------------
    SIGN_IN_RATE = RateSetting("10/minute", """Failed sign-ins of one account from anywhere.""", section="Attempts")
    SIGN_IN_ADDRESS_RATE = RateSetting(
        "60/minute", """Failed sign-ins from one address, of whatever accounts.""", section="Attempts"
    )
    REGISTRATION_RATE = RateSetting(
        "60/hour", """Accounts, guests included, made from one address.""", section="Attempts"
    )
    PASSWORD_RESET_RATE = RateSetting(
        "5/hour", """Mails for a forgotten password to one address.""", section="Attempts"
    )
    PASSWORD_RESET_ADDRESS_RATE = RateSetting(
        "30/hour", """Requests for such mails from one network address.""", section="Attempts"
    )
    VERIFICATION_RATE = RateSetting(
        "5/hour", """Mails and codes that one user asks for, to verify an address or number.""", section="Attempts"
    )
    VERIFICATION_CODE_RATE = RateSetting(
        "10/hour", """Wrong codes of one user for a phone number.""", section="Attempts"
    )
    SEARCH_RATE = RateSetting("120/minute", """Searches for people by one user.""", section="Attempts")
    ROOM_CREATION_RATE = RateSetting(
        "120/hour", """Rooms that one user makes, over REST or a socket.""", section="Attempts"
    )
    JOIN_RATE = RateSetting("120/minute", """Rooms that one user joins, over REST or a socket.""", section="Attempts")
    CONTACT_REQUEST_RATE = RateSetting(
        "60/hour", """Requests to become contacts that one user makes.""", section="Attempts"
    )

    # -- Contacts, preferences, notifications ------------------------------------------------------------------------
    CONTACT_POLICY = ImportedSetting(
        "mana.contacts.policies.ContactPolicy",
        """Dotted path of the class that decides who may request, find, write to and call whom.""",
        section="People",
    )
    PRESENCE_POLICY = ImportedSetting(
        "mana.contacts.presence.ContactPresencePolicy",
        """Dotted path of the ``mana.realtime.policies.PresencePolicy`` that decides who sees whom come and go.""",
        section="People",
    )
    MAX_CONTACTS = Setting(5000, """Contacts, and open requests, of one user.""", section="People", minimum=1)
    MAX_BLOCKS = Setting(5000, """People whom one user may block.""", section="People", minimum=1)
    MAX_PREFERENCES = Setting(1000, """Preferences that are stored for one user.""", section="People", minimum=1)
    MAX_PREFERENCE_BYTES = Setting(4096, """Bytes of the JSON of one preference.""", section="People", minimum=16)
    MAX_NOTIFICATIONS = Setting(
        1000,
        """Notifications that are kept for one user; older ones go.""",
        section="People",
        minimum=1,
    )
    PUSH_BACKENDS = ImportedSetting(
        [],
        """Dotted paths of the classes that reach people who have no socket open, such as
        ``"mana.notifications.webpush.WebPush"``.""",
        section="People",
    )
    MENTION_ALL_MAX_ROOM = Setting(
        1000,
        """Rooms of at most this many members in which a mention of everybody notifies.""",
        section="People",
        minimum=0,
    )
    PUSH_MAX_ROOM = Setting(
        200,
        """Messages are pushed in rooms of at most this many members, to those who are away and want to be told of
        all.""",
        section="People",
        minimum=0,
    )
    WEB_PUSH_PRIVATE_KEY = Setting(
        "", """The VAPID key (RFC 8292) of Web Push: a PEM file's path or the raw key in base64url.""", section="People"
    )
    WEB_PUSH_CONTACT = Setting(
        "", """Whom push services write to about this server: ``mailto:ops@example.com``.""", section="People"
    )
    WEB_PUSH_SERVICES = Setting[list[str]](
        [
            "https://fcm.googleapis.com",
            "https://*.push.services.mozilla.com",
            "https://*.push.apple.com",
            "https://*.notify.windows.com",
        ],
        """Origins of the push services that a browser may name; the server sends requests to nothing else.""",
        section="People",
    )
    MAX_PUSH_SUBSCRIPTIONS = Setting(20, """Browsers of one user that are pushed to.""", section="People", minimum=1)

    # -- Stores ------------------------------------------------------------------------------------------------------
    ACCOUNT_STORE = StoreSetting(
        "mana.accounts.stores.AccountStore",
        """Dotted path of the store of accounts, their names, sign-ins and tickets.""",
        section="Stores",
    )
    PROFILE_STORE = StoreSetting(
        "mana.accounts.stores.ProfileStore", """Dotted path of the store of profiles.""", section="Stores"
    )
    DEVICE_STORE = StoreSetting(
        "mana.accounts.stores.DeviceStore", """Dotted path of the store of devices and cursors.""", section="Stores"
    )
    CONTACT_STORE = StoreSetting(
        "mana.contacts.stores.ContactStore", """Dotted path of the store of contacts and blocks.""", section="Stores"
    )
    PREFERENCE_STORE = StoreSetting(
        "mana.preferences.stores.PreferenceStore", """Dotted path of the store of preferences.""", section="Stores"
    )

    # -- Limits of one connection ------------------------------------------------------------------------------------
    MAX_MESSAGE_SIZE = Setting(
        65536,
        """Bytes of the largest frame that a client may send; a larger one closes the session with 1009.""",
        section="Limits",
        minimum=1024,
    )
    MAX_DEPTH = Setting(64, """How deep the JSON of a frame or request may nest.""", section="Limits", minimum=4)
    RATE_LIMIT_PER_SECOND = Setting(
        100.0, """Frames per second that a session may send in the long run.""", section="Limits", minimum=0.1
    )
    RATE_LIMIT_BURST = Setting(
        200, """Frames that a session may send at once before the rate counts.""", section="Limits", minimum=1
    )
    FLOOD_TOLERANCE = Setting(
        500,
        """Refused frames, beyond ``RATE_LIMIT_PER_SECOND`` of them, after which the session is closed with 4029.""",
        section="Limits",
        minimum=1,
    )
    USER_RATE_LIMIT_PER_SECOND = Setting(
        200.0,
        """Frames per second that all sessions of a user at a node may send in the long run.""",
        section="Limits",
        minimum=0.1,
    )
    USER_RATE_LIMIT_BURST = Setting(
        400,
        """Frames that all sessions of a user at a node may send at once before the rate counts.""",
        section="Limits",
        minimum=1,
    )
    MAX_IN_FLIGHT = Setting(
        64,
        """Messages of one session that may wait for their commit; the session reads no further until one is
        answered.""",
        section="Limits",
        minimum=1,
    )
    SESSION_BUFFER_BYTES = Setting(
        1024 * 1024,
        """Bytes that may wait for a client that reads too slowly; past it the session is closed with 4008 and comes
        back by sync.""",
        section="Limits",
        minimum=1024,
    )
    PROCESS_BUFFER_BYTES = Setting(
        256 * 1024 * 1024,
        """Bytes that may wait for all slow clients of a process; past it those who wait for the most are closed with
        4008.""",
        section="Limits",
        minimum=1024 * 1024,
    )
    TRUSTED_PROXIES = NetworksSetting(
        [],
        """Networks of the proxies in front of the server, such as ``"10.0.0.0/8"``, and ``"unix"`` for a proxy that
        comes over a Unix socket. Only what they say in ``X-Forwarded-For`` is believed; without it all their clients
        count for one address.""",
        section="Limits",
    )
    HANDSHAKE_RATE = Setting(
        50.0,
        """WebSocket handshakes per second from one address (of IPv6: one /64) in the long run; more are refused with
        ``rate_limited`` and 4029.""",
        section="Limits",
        minimum=0.1,
    )
    HANDSHAKE_BURST = Setting(
        500,
        """WebSocket handshakes from one address at once before the rate counts.""",
        section="Limits",
        minimum=1,
    )
    MAX_CONNECTIONS_PER_ADDRESS = Setting(
        2000, """Open sockets from one address at a node.""", section="Limits", minimum=1
    )
    MAX_CONNECTIONS_PER_USER = Setting(50, """Open sockets of one user at a node.""", section="Limits", minimum=1)
    MAX_MEMBERS_PER_REQUEST = Setting(
        500, """People that one request may add to a room.""", section="Limits", minimum=1
    )

    # -- Messages ----------------------------------------------------------------------------------------------------
    MESSAGING_POLICY = ImportedSetting(
        "mana.messaging.policies.MessagingPolicy",
        """Dotted path of the class that decides who may create, join, write and so on.""",
        section="Messages",
    )
    SYNC_LIMIT = Setting(
        100,
        """Events in one ``message_sync`` or history page when the client asks for no number.""",
        section="Messages",
        minimum=1,
    )
    SYNC_MAX_LIMIT = Setting(
        500, """Events in one page at the most, whatever the client asks.""", section="Messages", minimum=1
    )
    RECEIPTS_MAX_ROOM = Setting(
        200,
        """Receipts are announced live in rooms of at most this many members; they are stored in all.""",
        section="Messages",
        minimum=0,
    )

    POLICIES = Setting[dict[str, str]](
        {},
        """Dotted paths of functions that decide instead of a method of ``MESSAGING_POLICY``, by the method's name:
        ``{"may_create_room": "shop.policies.may_create_room"}``. Each takes the method's arguments.""",
        section="Messages",
    )
    MESSAGE_STORE = StoreSetting(
        "mana.messaging.message_store.MessageStore",
        """Dotted path of the class that stores and finds messages.""",
        section="Messages",
    )
    ROOM_STORE = StoreSetting(
        "mana.messaging.room_store.RoomStore",
        """Dotted path of the class that finds rooms and who is in them.""",
        section="Messages",
    )
    EDIT_WINDOW = Setting(
        86_400,
        """Seconds after sending within which its author may edit a message. 0: for ever.""",
        section="Messages",
        minimum=0,
    )
    DELETE_WINDOW = Setting(
        172_800,
        """Seconds after sending within which its author may delete a message for everyone. 0: for ever. Moderators may
        at any time.""",
        section="Messages",
        minimum=0,
    )
    EDITS_MAX = Setting(100, """Edits of one message at the most.""", section="Messages", minimum=0)
    REVISIONS_FOR_MEMBERS = Setting(
        True,
        """Let every member read what a message said before its edits; otherwise its author and moderators.""",
        section="Messages",
    )
    MENTIONS_MAX = Setting(50, """People that one message may mention.""", section="Messages", minimum=0)
    REACTIONS_MAX = Setting(20, """Different emoji that one message may have.""", section="Messages", minimum=0)
    REACTIONS_PER_USER = Setting(5, """Emoji that one user may put on one message.""", section="Messages", minimum=0)
    PINS_MAX = Setting(50, """Messages that may be pinned in a room.""", section="Messages", minimum=0)

    # -- Rooms -------------------------------------------------------------------------------------------------------
    PINNED_ROOMS_MAX = Setting(20, """Rooms that a user may pin.""", section="Rooms", minimum=0)
    INVITES_MAX = Setting(20, """Open invitation links of a room at the most.""", section="Rooms", minimum=0)
    INVITE_LIFETIME = Setting(
        604_800,
        """Seconds that an invitation link lasts whose maker said nothing of it. 0: for ever.""",
        section="Rooms",
        minimum=0,
    )
    SLOW_MODE_MAX = Setting(86_400, """Seconds of the slowest slow mode.""", section="Rooms", minimum=0)
    DELETED_ROOM_DAYS = Setting(
        30,
        """Days after which ``mana_prune`` removes the last trace of a deleted room. Until then devices that were
        offline learn of the deletion by sync.""",
        section="Rooms",
        minimum=0,
    )
    EMPTY_ROOM_DAYS = Setting(
        0,
        """Days without an event after which ``mana_prune`` deletes a room that everybody has left. 0: never.""",
        section="Rooms",
        minimum=0,
    )
    PERSONAL_EVENT_DAYS = Setting(
        180,
        """Days that ``mana_prune`` keeps what only a user's own devices are told, for those that are offline.""",
        section="Rooms",
        minimum=1,
    )
    RETENTION_DAYS = Setting(
        0,
        """Days that events are kept in rooms that say nothing of it. 0: for ever.""",
        section="Rooms",
        minimum=0,
    )

    # -- Attachments -------------------------------------------------------------------------------------------------
    ATTACHMENT_STORAGE = Setting(
        "default",
        """Alias in ``STORAGES`` of the storage for attachments and avatars. What is stored there is served by mana,
        after it has asked who may: let no web server give it away.""",
        section="Attachments",
    )
    ATTACHMENT_MAX_SIZE = Setting(
        25 * 1024 * 1024, """Bytes of the largest attachment.""", section="Attachments", minimum=1
    )
    ATTACHMENT_QUOTA = Setting(
        1024 * 1024 * 1024, """Bytes of all attachments of one user. 0: no limit.""", section="Attachments", minimum=0
    )
    ATTACHMENT_TYPES = Setting[list[str]](
        [
            "image/*",
            "audio/*",
            "video/*",
            "text/plain",
            "application/pdf",
            "application/zip",
            "application/octet-stream",
        ],
        """Content types that may be uploaded, as the server recognises them by the content. What it knows nothing of
        is ``application/octet-stream``; HTML and SVG are ``text/plain``.""",
        section="Attachments",
    )
    ATTACHMENT_MAX_PIXELS = Setting(50_000_000, """Pixels of the largest image.""", section="Attachments", minimum=1)
    STRIP_IMAGE_METADATA = Setting(
        True,
        """Store images without EXIF, XMP, comments and what else tells where, when and with what they were made. The
        picture stays as it is, bit by bit.""",
        section="Attachments",
    )
    ATTACHMENTS_MAX = Setting(10, """Attachments of one message at the most.""", section="Attachments", minimum=0)
    THUMBNAIL_SIZE = Setting(480, """Pixels of a thumbnail's longer side.""", section="Attachments", minimum=16)
    ORPHAN_LIFETIME = Setting(
        86_400,
        """Seconds after which ``mana_prune`` removes an attachment that no message carries.""",
        section="Attachments",
        minimum=0,
    )
    UPLOAD_RATE = Setting(
        "60/min", """Uploads of one user, as Django REST framework writes rates.""", section="Attachments"
    )

    # -- Moderation --------------------------------------------------------------------------------------------------
    REPORT_RATE = Setting(
        "30/hour", """Reports of one user, as Django REST framework writes rates.""", section="Moderation"
    )
    REPORT_REASONS = Setting[list[str]](
        ["spam", "abuse", "violence", "nudity", "illegal", "other"],
        """Reasons that a report may give.""",
        section="Moderation",
    )
    REPORT_DAYS = Setting(
        365,
        """Days that ``mana_prune`` keeps handled reports, and the copies in them of what was reported. 0: for
        ever.""",
        section="Moderation",
        minimum=0,
    )
    AUDIT_DAYS = Setting(
        365,
        """Days that ``mana_prune`` keeps entries of the audit log. 0: for ever.""",
        section="Moderation",
        minimum=0,
    )

    # -- Presence ----------------------------------------------------------------------------------------------------
    PRESENCE_MAX_ROOM = Setting(
        200, """Presence is announced in rooms of at most this many members.""", section="Presence", minimum=0
    )
    PRESENCE_GRACE = Setting(
        2.0,
        """Seconds that a user may be gone, as in a page reload, before others are told.""",
        section="Presence",
        minimum=0,
    )
    PRESENCE_LEASE = Setting(
        20.0,
        """Seconds after its last sign of life that a node counts as dead and its users as offline.""",
        section="Presence",
        minimum=2,
    )

    # -- Nodes and the database --------------------------------------------------------------------------------------
    NODE_ID = Setting(
        "",
        """Name of this process in the cluster. Empty: made of host name, process id and a random part.""",
        section="Nodes and the database",
    )
    CHANNEL_LAYER = Setting(
        "default",
        """Alias in ``CHANNEL_LAYERS`` of the layer that connects the nodes.""",
        section="Nodes and the database",
    )
    GAP_TIMEOUT = Setting(
        0.25,
        """Seconds that a node waits for an event that another node committed before it reads it from the
        database.""",
        section="Nodes and the database",
        minimum=0.01,
    )
    REVOCATION_INTERVAL = Setting(
        0.5,
        """Seconds between looks at the database for credentials that ended and that no node announced.""",
        section="Nodes and the database",
        minimum=0.05,
    )
    REPAIR_INTERVAL = Setting(
        0.5,
        """Seconds between looks at the database for events that no node announced.""",
        section="Nodes and the database",
        minimum=0.05,
    )
    WRITER_BATCH_SIZE = Setting(
        256,
        """Messages that one transaction stores at the most.""",
        section="Nodes and the database",
        minimum=1,
    )
    WRITER_QUEUE_SIZE = Setting(
        10_000,
        """Messages of all sessions of a process that may wait for the writer; past it senders get
        ``unavailable``.""",
        section="Nodes and the database",
        minimum=1,
    )
    DATABASE_THREADS = Setting(
        4,
        """Threads, and so database connections, that serve reads of the sockets of a process.""",
        section="Nodes and the database",
        minimum=1,
    )
    DATABASE_TIMEOUT = Setting(
        20.0,
        """Seconds that a frame or a handshake waits for a database that does not answer; then it is refused with
        ``unavailable``, and while all threads wait so long, so is what comes after it, at once.""",
        section="Nodes and the database",
        minimum=0.1,
    )
    GC_THRESHOLD = Setting(
        10_000,
        """Allocations after which Python looks for reference cycles in a process that serves sockets or media
        (``mana.asgi``, ``manage.py mana_sfu``). Python's own 700 takes a tenth of the processor's time, in pauses of
        0.1 s and more. 0 leaves it as it is.""",
        section="Nodes and the database",
        minimum=0,
    )
    GRACEFUL_SHUTDOWN_TIMEOUT = Setting(
        10.0,
        """Seconds that a process has, after SIGTERM, to store what was sent and to close its sockets.""",
        section="Nodes and the database",
        minimum=0.1,
    )
    RECONNECT_SPREAD = Setting(
        5.0,
        """Seconds over which clients come back when a process goes away.""",
        section="Nodes and the database",
        minimum=0.0,
    )
    TABLE_PREFIX = Setting(
        "mana_",
        """What the names of all tables begin with (at most 8 characters). Set it before the first ``migrate``.""",
        section="Nodes and the database",
    )

    # -- Observability -----------------------------------------------------------------------------------------------
    HEALTH_ACCESS = Setting[list[str]](
        ["addresses", "token", "staff"],
        """Who may read ``/health/ready`` and the counts in ``/health``; one way in is enough: ``open`` (everybody),
        ``addresses`` (``OPERATIONS_ADDRESSES``), ``token`` (``OPERATIONS_TOKEN``), ``staff`` (signed in). Empty:
        nobody. That the process lives, ``/health`` and ``/health/live`` tell everybody.""",
        section="Observability",
    )
    METRICS_ACCESS = Setting[list[str]](
        ["addresses", "token", "staff"],
        """Who may read ``/metrics``, in the words of ``HEALTH_ACCESS``.""",
        section="Observability",
    )
    OPERATIONS_ADDRESSES = Setting[list[str]](
        ["127.0.0.0/8", "::1/128"],
        """Addresses and networks that ``addresses`` lets in. It counts who opened the connection; a request that a
        proxy has passed on (with ``X-Forwarded-For``, ``X-Real-IP`` or ``Forwarded``) is never let in by its
        address.""",
        section="Observability",
    )
    OPERATIONS_TOKEN = Setting(
        "",
        """What ``token`` lets in: ``Authorization: Bearer <it>``. Empty: no token.""",
        section="Observability",
    )
    HEALTH_CACHE = Setting(
        1.0,
        """Seconds for which ``/health/ready`` gives the same answer, however many ask.""",
        section="Observability",
        minimum=0,
    )
    HEALTH_TIMEOUT = Setting(
        2.0,
        """Seconds that the database, and then the channel layer, has to answer ``/health/ready``.""",
        section="Observability",
        minimum=0.1,
    )
    HEALTH_COUNTS_INTERVAL = Setting(
        10.0,
        """Seconds between countings of the whole cluster for ``/health/ready``.""",
        section="Observability",
        minimum=0,
    )
    WRITER_STUCK_AFTER = Setting(
        10.0,
        """Seconds at one transaction after which the writer counts as stuck: sends are refused with ``unavailable``
        until it goes on, and the node is not ready.""",
        section="Observability",
        minimum=0.1,
    )
    ENABLE_TRACING = Setting(
        False,
        """Trace connections, frames, commits and deliveries with OpenTelemetry (extra ``[otel]``). Read at start.""",
        section="Observability",
    )
    TRACE_SAMPLE_RATIO = Setting(
        0.1,
        """Share of the frames and connections that are traced, 0 to 1. Read at start.""",
        section="Observability",
        minimum=0,
    )
    SERVICE_NAME = Setting("django-mana", """``service.name`` of the traces. Read at start.""", section="Observability")
    SERVICE_VERSION = Setting(
        "",
        """``service.version`` of the traces; empty: the version of django-mana. Read at start.""",
        section="Observability",
    )
    TRACE_EXPORT = Setting(
        "",
        """URL to which traces are sent as OTLP over HTTP, as ``http://127.0.0.1:4318/v1/traces``. Empty: they stay in
        memory, for ``/debug/traces``. Read at start.""",
        section="Observability",
    )
    TRACE_BUFFER = Setting(
        200,
        """Traces that ``/debug/traces`` keeps, the newest; 0 keeps none. Read at start.""",
        section="Observability",
        minimum=0,
    )
    TRACE_IDS = Setting(
        True,
        """Put keyed hashes of session, user and room ids into spans, so that spans of one can be found. With ``False``
        there is nothing of the kind. Read at start.""",
        section="Observability",
    )

    # -- Calls and media (mana_rtc) ----------------------------------------------------------------------------------
    RTC_BACKEND = Setting(
        "mana_rtc.backends.embedded",
        """Dotted path of the function ``(listener) -> SfuBackend`` that makes the media server. The default runs it in
        a thread of this process; ``mana_rtc.backends.workers`` leaves it to ``manage.py mana_sfu`` processes.""",
        section="Calls and media",
    )
    RTC_WORKER_LEASE = Setting(
        2.5,
        """Seconds after its last sign of life that a media worker counts as dead and its calls move to others.""",
        section="Calls and media",
        minimum=0.5,
    )
    JANUS_URL = Setting(
        "ws://127.0.0.1:8188",
        """With ``mana_rtc.backends.janus``: the WebSocket of Janus' API. Only the nodes need to reach it.""",
        section="Calls and media",
    )
    JANUS_API_SECRET = Setting("", """Janus' ``api_secret``.""", section="Calls and media")
    JANUS_ADMIN_KEY = Setting(
        "",
        """The ``admin_key`` of Janus' VideoRoom plugin, without which nobody makes rooms there.""",
        section="Calls and media",
    )
    RTC_ADDRESSES = Setting[list[str]](
        [],
        """IP addresses that media is sent and received at. Empty: all of this machine except loopback.""",
        section="Calls and media",
    )
    RTC_PORT = Setting(
        0,
        """The one UDP and TCP port of all media. 0: a free one; firewalls want a fixed one.""",
        section="Calls and media",
        minimum=0,
    )
    RTC_ANNOUNCED_ADDRESSES = Setting[list[str]](
        [],
        """Addresses that clients are told instead of the machine's own, as behind NAT: ``ip`` or ``ip:port``, with IPv6
        in brackets.""",
        section="Calls and media",
    )
    RTC_UDP = Setting(True, """Offer media over UDP.""", section="Calls and media")
    RTC_TCP = Setting(True, """Offer media over TCP, for networks that block UDP.""", section="Calls and media")
    RTC_ACCELERATION = Setting(
        False,
        """Where client and system can, encrypt with AES-GCM in one call to OpenSSL, without libsrtp's copies.
        How much that saves depends on the machine: ``python -m benchmarks.rtc`` tells.""",
        section="Calls and media",
    )
    RTC_VIDEO_CODECS = Setting[list[str]](
        ["VP8", "H264", "VP9"],
        """Video codecs that may be published, the preferred first.""",
        section="Calls and media",
    )
    RTC_LAST_N = Setting(
        0,
        """Cameras that one participant gets at a time, by who spoke last; screens and pinned ones come on top. 0: all
        that the bandwidth allows.""",
        section="Calls and media",
        minimum=0,
    )
    RTC_START_BITRATE = Setting(
        1_000_000,
        """Bits per second that a participant's connection is taken to carry until it is measured.""",
        section="Calls and media",
        minimum=50_000,
    )
    RTC_MAX_BITRATE = Setting(
        20_000_000,
        """Bits per second that one participant is sent at the most.""",
        section="Calls and media",
        minimum=100_000,
    )
    RTC_MAX_ROOMS = Setting(1000, """Calls at a time.""", section="Calls and media", minimum=1)
    RTC_MAX_PARTICIPANTS = Setting(100, """People in one call.""", section="Calls and media", minimum=2)
    RTC_MAX_TRACKS = Setting(8, """Tracks that one participant may publish.""", section="Calls and media", minimum=1)
    RTC_DATA_BYTES_PER_SECOND = Setting(
        262_144,
        """Bytes per second that one participant may send in data channels; what is beyond is dropped.""",
        section="Calls and media",
        minimum=0,
    )
    RTC_PEER_TIMEOUT = Setting(
        20.0,
        """Seconds of silence after which a media connection counts as dead.""",
        section="Calls and media",
        minimum=2,
    )
    RTC_RESUME_TIMEOUT = Setting(
        20.0,
        """Seconds that somebody whose WebSocket broke, or whose node died, stays in the call, so that they can come
        back to it.""",
        section="Calls and media",
        minimum=0,
    )
    RING_TIMEOUT = Setting(
        45.0,
        """Seconds that a call rings before it counts as missed.""",
        section="Calls and media",
        minimum=1,
    )
    RING_MAX_ROOM = Setting(
        32,
        """Members up to which everybody in a room is rung. In a larger room they see that there is a call, and may join
        it.""",
        section="Calls and media",
        minimum=2,
    )
    ONE_CALL_AT_A_TIME = Setting(
        True,
        """Who is in a call is busy for others, and joins no second one. False: any number, on any devices.""",
        section="Calls and media",
    )
    CALL_RATE = RateSetting("60/minute", """Calls that one user starts.""", section="Attempts")
    CALL_POLICY = ImportedSetting(
        "mana_rtc.policies.CallPolicy",
        """Dotted path of the class that decides who may start, join, end, moderate and record calls.""",
        section="Calls and media",
    )
    CALL_HISTORY_DAYS = Setting(
        365,
        """Days after which ``manage.py mana_prune`` removes calls from the history. 0: never.""",
        section="Calls and media",
        minimum=0,
    )
    STUN_SERVERS = Setting[list[str]](
        [],
        """STUN servers that clients are told, like ``stun:stun.example.com:3478``. By default no stranger's.""",
        section="Calls and media",
    )
    TURN_SERVERS = Setting[list[str]](
        [],
        """TURN servers that clients are told, like ``turn:turn.example.com:3478?transport=udp`` or ``turns:...``.""",
        section="Calls and media",
    )
    TURN_SECRET = Setting(
        "",
        """The secret that the TURN servers share (coturn: ``use-auth-secret``, ``static-auth-secret``). Clients get
        credentials made with it, never the secret.""",
        section="Calls and media",
    )
    TURN_CREDENTIALS_LIFETIME = Setting(
        3600,
        """Seconds that credentials made with ``TURN_SECRET`` hold.""",
        section="Calls and media",
        minimum=60,
    )
    TURN_USERNAME = Setting(
        "", """With TURN servers that know no shared secret: the name.""", section="Calls and media"
    )
    TURN_PASSWORD = Setting(
        "",
        """And the password. Every user sees it, and it holds until you change it.""",
        section="Calls and media",
    )
    ICE_TRANSPORT_POLICY = ChoiceSetting(
        "all",
        """``relay`` has clients use TURN servers only, so that callers do not learn each other's addresses.""",
        section="Calls and media",
        choices=("all", "relay"),
    )
    RTC_DYNACAST_DELAY = Setting(
        4.0,
        """Seconds after which publishers are asked not to send a layer that nobody watches. 0: never.""",
        section="Calls and media",
        minimum=0,
    )

    # -- End-to-end encryption (mana_e2ee) ---------------------------------------------------------------------------
    E2EE_UPLOAD_RATE = RateSetting(
        "120/hour", """Uploads of keys by one user: bundles and refills.""", section="End-to-end encryption"
    )
    E2EE_BACKUP_RATE = RateSetting(
        "120/hour",
        """Backups that one user stores. Clients that ship store one a minute at most, while there are new messages.""",
        section="End-to-end encryption",
    )
    E2EE_DEVICE_LIST_RATE = RateSetting(
        "60/hour", """Device lists that one user publishes.""", section="End-to-end encryption"
    )
    E2EE_CLAIM_RATE = RateSetting(
        "600/hour",
        """Claims of prekey bundles by one user. One claim covers all devices of another user.""",
        section="End-to-end encryption",
    )
    E2EE_CLAIM_TARGET_RATE = RateSetting(
        "600/hour",
        """Claims of the bundles of one user, whoever claims. Those beyond get bundles without one-time prekeys: they
        work, and nobody can use up what is left.""",
        section="End-to-end encryption",
    )
    E2EE_CLAIM_LIFETIME = Setting(
        60,
        """Seconds within which the same claim, made again, gets the same answer.""",
        section="End-to-end encryption",
        minimum=1,
    )
    E2EE_ONE_TIME_MAX = Setting(
        200, """Unused one-time prekeys of one device at the most.""", section="End-to-end encryption", minimum=100
    )
    E2EE_PREKEY_RESERVE = Setting(
        10,
        """One-time prekeys of a device that are left for contacts and people in common rooms: strangers get none of
        the last ones.""",
        section="End-to-end encryption",
        minimum=0,
    )
    E2EE_PREKEYS_LOW = Setting(
        25,
        """A device that has fewer one-time prekeys left is told so, with ``prekeys_low``.""",
        section="End-to-end encryption",
        minimum=0,
    )
    E2EE_CLAIMED_DAYS = Setting(
        90,
        """Days that ``mana_prune`` keeps one-time prekeys that were handed out, to recognise uploads of used ones.""",
        section="End-to-end encryption",
        minimum=1,
    )
    E2EE_ENVELOPE_DAYS = Setting(
        30,
        """Days that ciphertext waits for a device. ``mana_prune`` removes what is older.""",
        section="End-to-end encryption",
        minimum=1,
    )
    E2EE_QUEUE_MESSAGES = Setting(
        5000,
        """Ciphertexts that wait for one device at the most. Beyond, the oldest of whoever fills the queue go first.""",
        section="End-to-end encryption",
        minimum=1,
    )
    E2EE_QUEUE_BYTES = Setting(
        64 * 1024 * 1024,
        """Bytes of all ciphertexts that wait for one device at the most.""",
        section="End-to-end encryption",
        minimum=65_536,
    )
    E2EE_BACKUP_BYTES = Setting(
        1024 * 1024,
        """Bytes of a user's encrypted backup at the most; 0: there are no backups. It comes in base64, a third larger:
        Django's ``DATA_UPLOAD_MAX_MEMORY_SIZE`` and the limits of your proxy must let that through.""",
        section="End-to-end encryption",
        minimum=0,
    )

    @classmethod
    def declared(cls) -> Iterator[Setting[Any]]:
        """Every key, in the order of this file."""
        return (value for value in vars(cls).values() if isinstance(value, Setting))

    def reload(self) -> None:
        """Forget what was read, as after a change of ``MANA`` in a test."""
        self.__dict__.clear()


def user_settings() -> Mapping[str, Any]:
    """The project's ``MANA`` dict, or an empty one."""
    value = getattr(django_settings, "MANA", {})
    return value if isinstance(value, Mapping) else {}


def table(name: str) -> str:
    """The database name of the table, index or constraint ``name``, with the project's prefix."""
    return settings.TABLE_PREFIX + name


settings = Settings()


def _reload(*, setting: str, **kwargs: Any) -> None:
    if setting == "MANA":
        settings.reload()


setting_changed.connect(_reload)
