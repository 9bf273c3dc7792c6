/**
 * What an encrypted client refuses, with a stable `code`:
 *
 * - `not_linked`: this device is not in its user's device list; `replaced`: it was removed, or the user has another account
 * - `account_changed`: somebody has another account key than before (`userId`); `trustAccount()` takes it
 * - `list_refused`: the server gave an older or another device list than the one known (`userId`)
 * - `unknown_member`: people in the room who are not in its membership log (`users`); `admit()` takes them in
 * - `no_devices`: nobody there has a device that could read it
 * - `invalid_content`, `too_large`, `not_found`
 * - `code_wrong`, `code_expired`: linking; `wrong_key`: the recovery key opens no backup
 */
export class ClientError extends Error {
  constructor(code, message, extra = {}) {
    super(message);
    this.name = "ClientError";
    this.code = code;
    Object.assign(this, extra);
  }

  /** Nothing of this passes by itself. */
  get temporary() {
    return false;
  }
}
