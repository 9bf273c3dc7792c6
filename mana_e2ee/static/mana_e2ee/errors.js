// Every way in which the core refuses. `code` is the same in Python and in the docs. No error changes stored state.

export class E2EEError extends Error {
  static code = "e2ee_error";
  constructor(message) {
    super(message);
    this.name = new.target.name;
    this.code = new.target.code;
  }
}
export class InvalidMessage extends E2EEError { static code = "invalid_message"; }
export class InvalidKey extends E2EEError { static code = "invalid_key"; }
export class InvalidSignature extends E2EEError { static code = "invalid_signature"; }
export class UntrustedIdentity extends E2EEError { static code = "untrusted_identity"; }
export class DuplicateMessage extends E2EEError { static code = "duplicate_message"; }
export class NoSession extends E2EEError { static code = "no_session"; }
export class UnknownPreKey extends E2EEError { static code = "unknown_prekey"; }
export class TooManySkipped extends E2EEError { static code = "too_many_skipped"; }
export class StaleDeviceList extends E2EEError { static code = "stale_device_list"; }
export class UnsupportedVersion extends E2EEError { static code = "unsupported_version"; }
export class DowngradeRefused extends E2EEError { static code = "downgrade_refused"; }
export class RetryRefused extends E2EEError { static code = "retry_refused"; }
export class RotationNeeded extends E2EEError { static code = "rotation_needed"; }
export class NotAMember extends E2EEError { static code = "not_a_member"; }

/** Too many failures in a row from this address; nothing was tried. `retryAfter` is in seconds. */
export class Throttled extends E2EEError {
  static code = "throttled";
  constructor(retryAfter) {
    super(`try again in ${retryAfter} s`);
    this.retryAfter = retryAfter;
  }
}
