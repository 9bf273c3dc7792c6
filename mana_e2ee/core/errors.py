"""Every way in which the core refuses. Each error has a stable `code`, the same in Python, JavaScript and the
docs.
"""


class E2EEError(Exception):
    """The base of every error that the core raises on purpose. No error changes stored state."""

    code = "e2ee_error"


class InvalidMessage(E2EEError):
    """The bytes are malformed, or do not authenticate."""

    code = "invalid_message"


class InvalidKey(E2EEError):
    """A public key has the wrong type or length, is not canonical, or is of small order."""

    code = "invalid_key"


class InvalidSignature(E2EEError):
    """A signature does not verify under the key that must have made it."""

    code = "invalid_signature"


class UntrustedIdentity(E2EEError):
    """The device's identity is not the one known for its address, or not in its user's device list."""

    code = "untrusted_identity"


class DuplicateMessage(E2EEError):
    """The message was decrypted before, or its key has been dropped from the skipped keys."""

    code = "duplicate_message"


class NoSession(E2EEError):
    """There is no session to send on, or none that the message names: claim a bundle, or ask for a retry."""

    code = "no_session"


class UnknownPreKey(E2EEError):
    """The first message names a prekey whose private part is not here: spent, expired or never ours."""

    code = "unknown_prekey"


class TooManySkipped(E2EEError):
    """The message would skip more than MAX_SKIP keys of one chain."""

    code = "too_many_skipped"


class StaleDeviceList(E2EEError):
    """A device list that rolls back, forks, or leaves a gap after the one already accepted."""

    code = "stale_device_list"


class UnsupportedVersion(E2EEError):
    """The version byte, or every suite offered, is one that this implementation does not speak."""

    code = "unsupported_version"


class DowngradeRefused(E2EEError):
    """A weaker suite, or an older device record, than the signed records allow."""

    code = "downgrade_refused"


class Throttled(E2EEError):
    """Too many failures in a row from this address; nothing was tried. Has `retry_after`, in seconds."""

    code = "throttled"

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"try again in {retry_after} s")
        self.retry_after = retry_after


class RetryRefused(E2EEError):
    """A retry request that names no session of ours, is too old, or comes within an hour of the last."""

    code = "retry_refused"


class RotationNeeded(E2EEError):
    """The sender key is too old, has sent too much, or predates a removal: distribute a new one first."""

    code = "rotation_needed"


class NotAMember(E2EEError):
    """The membership log does not allow this device's user to do that in the group."""

    code = "not_a_member"
