/** Refusals that pass by themselves, or once the connection has been authenticated again. */
const TEMPORARY = new Set([
  ...["rate_limited", "unavailable", "internal", "going_away", "timeout"],
  ...["unauthenticated", "token_expired", "revoked"],
]);

/** What went wrong, with a stable `code` (PROTOCOL.md) beside the text for people. */
export class ManaError extends Error {
  /**
   * @param {string} code stable code: a server code such as `rate_limited`, or one of this client:
   *   `offline`, `timeout`, `disconnected`, `discarded`, `bad_frame`, `network`
   * @param {string} [message] text for people
   * @param {{status?: number, retryAfter?: number, fields?: object, details?: object}} [extra] HTTP status, seconds to
   *   wait, the body, what the server says beside the code
   */
  constructor(code, message, extra = {}) {
    super(message || code);
    this.name = "ManaError";
    this.code = code;
    Object.assign(this, extra);
  }

  /** Whether the same may be tried again by itself, after `retryAfter` seconds when the server has said so. */
  get temporary() {
    return this.retryAfter !== undefined || TEMPORARY.has(this.code);
  }

  /** @param {{code?: string, error?: string, retry_after?: number, details?: object}} frame an `error` frame */
  static fromFrame(frame) {
    return new ManaError(frame.code || "error", frame.error, {
      retryAfter: frame.retry_after,
      details: frame.details,
    });
  }
}
