import { ManaError } from "./errors.js";

const ACK_TIMEOUT = 20_000; // ms without an answer on an open connection until a message is sent again
const PAUSE = 1_000; // ms to wait when the server asks for patience without saying how long
const WINDOW = 32; // messages under way at once, unless the server allows fewer
const TRIES = 5; // refusals that name no time to wait, until a message counts as failed
const UNREACHED = new Set(["network", "offline", "disconnected", "timeout"]);

/**
 * A message on its way.
 *
 * @typedef {object} Outgoing
 * @property {string} ack_id unique for ever; the server stores at most one message for it
 * @property {string} [room_id]
 * @property {string} [to] user id, instead of room_id
 * @property {*} payload
 * @property {string} [reply_to]
 * @property {string[]} [mentions] user ids, or `@all`
 * @property {string[]} [attachments] ids of uploaded files
 * @property {boolean} [sealed] the client's `cipher` makes the frame of it, each time that it is sent
 * @property {string} created_at ISO 8601
 * @property {"queued" | "sending" | "sent" | "failed" | "discarded"} status
 * @property {ManaError} [error] why it failed
 * @property {object} [ack] the server's answer, once sent
 * @property {Promise<object>} acked resolves with the ack, rejects with a ManaError when it fails or is discarded
 */

/**
 * Messages that the server has not acknowledged. Each stays, with its ack_id, until there is an ack: over lost
 * connections and page loads. Sending one twice is harmless, so a tab may take over what another tab has left behind.
 */
export class Outbox {
  #messages = new Map(); // ack_id -> Outgoing with what is private to this class
  #stored = null;
  #online = false;
  #window = WINDOW;
  #pausedUntil = 0;
  #pauseTimer = null;
  #order = 0;
  #send;
  #onChange;
  #clock;
  #cipher;
  #sealing = Promise.resolve();

  /** @param {{send: (frame: object) => boolean, onChange: (message: Outgoing) => void, clock: object}} hooks */
  constructor({ send, onChange, clock }) {
    this.#send = send;
    this.#onChange = onChange;
    this.#clock = clock;
  }

  /** The user is known: keep messages in `stored`, and take over those that wait there. */
  attach(stored) {
    this.#stored = stored;
    for (const message of this.#messages.values()) this.#save(message);
    this.adopt();
  }

  /** Take over messages that other tabs, or this page before a reload, have left for `minAge` ms. */
  adopt(minAge = 0) {
    if (!this.#stored) return;
    for (const { error, ...kept } of this.#stored.messages()) {
      const { ack_id, at, order } = kept;
      if (this.#messages.has(ack_id) || this.#clock.now() - at < minAge) continue;
      const message = this.#message(kept);
      if (error) Object.assign(message, { status: "failed", error: new ManaError(error.code, error.message) });
      this.#messages.set(ack_id, message);
      this.#order = Math.max(this.#order, order);
      this.#onChange(message);
    }
    this.pump();
  }

  /** Another tab has had the ack for it, or discarded it. */
  forget(ackId) {
    const message = this.#messages.get(ackId);
    if (message && message.status !== "sending") this.#end(message, "discarded");
  }

  add(fields) {
    const message = this.#message({ ...fields, at: this.#clock.now(), order: (this.#order += 1) });
    this.#messages.set(message.ack_id, message);
    this.#save(message);
    this.#onChange(message);
    this.pump();
    return message;
  }

  get(ackId) {
    return this.#messages.get(ackId);
  }

  /** @returns {Outgoing[]} oldest first */
  list() {
    return [...this.#messages.values()].sort((a, b) => a.at - b.at || a.order - b.order);
  }

  /** Sealed messages wait until there is a cipher. @param {import("./mana.js").Cipher} cipher */
  use(cipher) {
    this.#cipher = cipher;
    this.pump();
  }

  online(limit) {
    this.#online = true;
    this.#window = Math.max(1, Math.min(limit || WINDOW, WINDOW));
    this.pump();
  }

  offline() {
    this.#online = false;
    for (const message of this.#messages.values()) if (message.status === "sending") this.#set(message, "queued");
  }

  /** Send what waits, in order, as far as the window allows. */
  pump() {
    if (!this.#online || this.#clock.now() < this.#pausedUntil) return;
    let free = this.#window;
    for (const message of this.#messages.values()) if (message.status === "sending") free -= 1;
    for (const message of this.list()) {
      if (free <= 0) return;
      if (message.status !== "queued" || (message.sealed && !this.#cipher)) continue;
      if (!message.sealed && this.#cipher?.allows?.(message) === false) {
        this.#fail(message, inTheClear()); // written before the chat was encrypted
        continue;
      }
      if (message.sealed) {
        this.#set(message, "sending");
        this.#sealing = this.#sealing.then(() => this.#seal(message)); // one after the other, in their order
        free -= 1;
        continue;
      }
      if (!this.#send(frameOf(message))) return;
      this.#set(message, "sending");
      message.timer = this.#clock.setTimeout(() => this.#again(message), ACK_TIMEOUT);
      free -= 1;
    }
  }

  /** @returns {Outgoing | undefined} the message that this ack was for, now sent */
  acknowledge(ackId, ack) {
    const message = this.#messages.get(ackId);
    if (!message) return undefined;
    message.ack = ack;
    this.#end(message, "sent");
    this.pump();
    return message;
  }

  /** @returns {boolean} whether the refusal was for one of these messages */
  refuse(ackId, error) {
    const message = this.#messages.get(ackId);
    if (!message) return false;
    message.tries += 1;
    if (message.sealed && error.code === "stale_device_list" && message.tries <= TRIES) {
      Promise.resolve(this.#cipher.refused(message, error)).then(
        () => this.#requeue(message),
        (failure) => this.refuse(ackId, failure),
      );
      return true;
    }
    if (error.retryAfter !== undefined || (error.temporary && message.tries < TRIES)) {
      this.#pause(error.retryAfter === undefined ? PAUSE * message.tries : error.retryAfter * 1000);
      this.#set(message, "queued");
    } else {
      this.#fail(message, error);
    }
    return true;
  }

  /** Send a failed message again. */
  retry(ackId) {
    const message = this.#messages.get(ackId);
    if (message?.status !== "failed") return;
    message.error = undefined;
    message.tries = 0;
    this.#defer(message);
    this.#set(message, "queued");
    this.#save(message);
    this.pump();
  }

  /** Give up on a message that is not under way. */
  discard(ackId) {
    const message = this.#messages.get(ackId);
    if (message && message.status !== "sending") this.#end(message, "discarded");
  }

  #message(fields) {
    const message = { ...fields, status: "queued", tries: 0, created_at: new Date(fields.at).toISOString() };
    for (const key of ["timer", "resolve", "reject", "tries"]) hide(message, key);
    this.#defer(message);
    return message;
  }

  #defer(message) {
    message.acked = new Promise((resolve, reject) => Object.assign(message, { resolve, reject }));
    message.acked.catch(() => {}); // a caller who looks at `status` instead is right as well
  }

  /** Make the frame of a sealed message and send it; the connection may be another one by then. */
  async #seal(message) {
    if (message.status !== "sending") return;
    try {
      const frame = await this.#cipher.seal(message);
      if (message.status !== "sending") return;
      if (!this.#send(frame)) return void this.#set(message, "queued");
      message.timer = this.#clock.setTimeout(() => this.#again(message), ACK_TIMEOUT);
    } catch (error) {
      if (message.status !== "sending") return;
      if (UNREACHED.has(error.code)) {
        this.#pause(PAUSE);
        this.#set(message, "queued");
      } else this.refuse(message.ack_id, error);
    }
  }

  #requeue(message) {
    if (message.status === "sending") this.#set(message, "queued");
    this.pump();
  }

  #again(message) {
    if (message.status !== "sending") return;
    this.#set(message, "queued");
    this.pump();
  }

  #pause(ms) {
    const until = this.#clock.now() + ms;
    if (until <= this.#pausedUntil) return;
    this.#pausedUntil = until;
    this.#clock.clearTimeout(this.#pauseTimer);
    this.#pauseTimer = this.#clock.setTimeout(() => this.pump(), ms);
  }

  #fail(message, error) {
    message.error = error;
    this.#set(message, "failed");
    this.#save(message);
    message.reject(error);
  }

  #end(message, status) {
    this.#messages.delete(message.ack_id);
    this.#stored?.removeMessage(message.ack_id);
    if (status === "sent") message.resolve(message.ack);
    else message.reject(new ManaError("discarded", "The message was discarded."));
    this.#set(message, status);
  }

  #set(message, status) {
    this.#clock.clearTimeout(message.timer);
    message.status = status;
    this.#onChange(message);
  }

  #save(message) {
    const { ack_id, room_id, to, payload, reply_to, mentions, attachments, sealed, at, order, error } = message;
    const failed = error && { code: error.code, message: error.message };
    const kept = { ack_id, room_id, to, payload, reply_to, mentions, attachments, sealed, at, order };
    this.#stored?.saveMessage({ ...kept, error: failed });
  }
}

/** Why a message that is not sealed does not go to an encrypted chat. */
export function inTheClear() {
  return new ManaError("not_encrypted", "This chat is encrypted: nothing is sent there in the clear.");
}

/** The `message` frame for an outgoing message; absent fields vanish in JSON. */
export function frameOf({ room_id, to, payload, reply_to, mentions, attachments, ack_id }) {
  return { type: "message", room_id, to, payload, ack_id, reply_to, mentions, attachments };
}

function hide(object, key) {
  Object.defineProperty(object, key, { value: object[key], writable: true, enumerable: false });
}
