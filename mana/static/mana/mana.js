/**
 * mana.js: the browser client of django-mana. One import, no dependencies, no build step.
 *
 *     import { ManaClient } from "/static/mana/mana.js";
 *
 *     const client = new ManaClient();                  // same origin, Django session cookie
 *     client.on("message", (message) => show(message)); // each once, in order, over reconnects
 *     client.connect();
 *     const { acked } = client.send({ room_id, payload: { text: "Hello" } });
 *     await acked;                                      // stored; survives lost connections and reloads
 *
 * ## Several tabs
 *
 * The tabs of a profile are one device: they share its id (localStorage). Each tab has a connection and a cursor of its
 * own, in memory, so a slow tab skips nothing because another is ahead. localStorage keeps the highest cursor that any
 * tab has handled; a new page starts there, unless it says where its own knowledge ends (`connect({cursor})`).
 * Unsent messages have one key each in localStorage. A tab takes over what others have left; two tabs sending the same
 * message are harmless, since it keeps its ack_id and the server stores it once.
 *
 * ## Events
 *
 * Listen with `on(type, listener)`, or as EventTarget with `event.detail`:
 * - `state` {state, previous, attempt?, retryAt?, code?, reason?}: see `ManaClient.state`
 * - `welcome`: the server's frame, and `fresh`: this device had no cursor and begins at `latest_sequence`
 * - `message`, `message_edit`, `message_delete`, `reaction`, `room`, `warning` and whatever else is sequenced: the frame,
 *   each once and in order, live or by sync
 * - `outgoing`: an Outgoing whose status changed (outbox.js); with status `sent` it has the server's `ack`. Own messages
 *   of this tab are told here and not as `message`, unless one comes back by sync before its ack: compare the ids
 * - `receipt`, `presence`, `notification`, and any other frame type: the frame
 * - `typing`: the frame and `active`; ends by itself when the other side is silent
 * - `sync` {phase: "start" | "batch" | "done", count, cursor}
 * - `reset` {reason}: the server's history does not continue ours; load the state anew by REST
 * - `unauthenticated` {code, reason}: sign in again, then `connect()`
 * - `error`: a ManaError that belongs to no call
 */
import { Connection } from "./connection.js";
import { ManaError } from "./errors.js";
import { Outbox, frameOf, inTheClear } from "./outbox.js";
import { Rest } from "./rest.js";
import { Receipts, Typing } from "./signals.js";
import { DeviceStorage, uuid } from "./storage.js";
import { Timeline } from "./timeline.js";
import { upload } from "./uploads.js";

export { ManaError, uuid };

const REQUEST_TIMEOUT = 15_000; // ms
const SYNC_LIMIT = 200; // events of one batch
const SYNC_RETRY = 1_000; // ms until a sync that was not answered is asked for again
const GAP_WAIT = 500; // ms that an event waits for its predecessor
const CURSOR_WRITE = 200; // ms in which changes of the cursor become one write
const ABANDONED = 30_000; // ms after which a message of another tab is taken over
const MAX_MESSAGE_SIZE = 65_536; // bytes, until the welcome says otherwise

/**
 * @typedef {object} Options
 * @property {string} [url] WebSocket address; default: `/ws` of this page's host
 * @property {string} [api] root of the REST API; default `/api/`
 * @property {string} [userId] who this page was made for. A welcome for somebody else ends the connection, and unsent
 *   messages are kept from the first moment
 * @property {string | ((options: {fresh: boolean}) => string | Promise<string>)} [token] JWT; a function is asked at
 *   every connect, with `fresh` when the last one was refused or is about to expire
 * @property {() => string | Promise<string>} [ticket] one-use ticket, asked for at every connect
 * @property {() => string} [csrf] CSRF token for REST; default: the `csrftoken` cookie
 * @property {boolean} [autoDelivered] acknowledge messages of others as delivered by itself; default true
 * @property {Storage} [storage] default localStorage
 * @property {string} [storagePrefix] default `mana`
 * @property {Function} [WebSocket] @property {Function} [fetch] @property {Function} [random]
 * @property {Window} [window] @property {Document} [document]
 * @property {{now: Function, setTimeout: Function, clearTimeout: Function}} [clock] these, for tests
 */

/**
 * What `use()` takes. mana_e2ee's client.js is one.
 * @typedef {object} Cipher
 * @property {(message: import("./outbox.js").Outgoing) => Promise<object>} seal the frame of a sealed message, with its
 *   ack_id; called again for every attempt
 * @property {(message: import("./outbox.js").Outgoing, error: ManaError) => Promise<void>} refused before a message is
 *   sealed anew because the server knows other devices (`stale_device_list`)
 * @property {(where: {room_id?: string, to?: string}) => boolean} [allows] whether a message may go out as it is
 * @property {(event: object) => boolean} covers whether an event has to be opened
 * @property {(event: object) => Promise<object | null>} open what the page is told in its place, or nothing
 */

export class ManaClient extends EventTarget {
  /** REST calls: `client.rest.get("rooms")`, `.post(path, body)`, `.patch`, `.delete`. @type {Rest} */
  rest;

  #options;
  #clock;
  #device;
  #connection;
  #outbox;
  #timeline;
  #receipts;
  #typing;
  #requests = new Map(); // ack_id -> {type, answer, resolve, reject, timer}
  #welcome = null;
  #userId;
  #stored = null; // UserStorage, once the user is known
  #cursorTimer = null;
  #gapTimer = null;
  #syncing = false;
  #cipher = null;
  #opening = null; // the last of the events that are being opened, while there are any
  #onStorage = (event) => this.#outbox.forget(this.#abandonedKey(event));
  #onPageHide = () => this.#persist();

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    this.#options = withDefaults(options);
    this.#clock = this.#options.clock;
    this.#device = new DeviceStorage(this.#options.storage, this.#options.storagePrefix);
    this.#options.deviceId = () => this.deviceId;
    this.rest = new Rest({
      base: this.#options.api,
      fetch: options.fetch,
      csrf: options.csrf,
      token:
        options.token && (async (how) => (typeof options.token === "function" ? options.token(how) : options.token)),
    });
    this.#connection = new Connection(this.#options, {
      onFrame: (frame) => this.#receive(frame),
      onState: (state) => this.#stateChanged(state),
      onLost: () => this.#lost(),
      onHeartbeat: () => this.#outbox.adopt(ABANDONED),
    });
    const clock = this.#clock;
    const send = (frame) => this.#connection.send(frame);
    this.#outbox = new Outbox({ send, clock, onChange: (message) => this.#emit("outgoing", message) });
    this.#typing = new Typing({ send, clock, onTyping: (typing) => this.#emit("typing", typing) });
    this.#receipts = new Receipts({ clock, request: (frame) => this.request(frame) });
    this.#timeline = new Timeline({
      onEvent: (event) => this.#tell(event),
      onCursor: () => (this.#cursorTimer ??= clock.setTimeout(() => this.#persist(), CURSOR_WRITE)),
      onGap: (roomId, after, before) => this.#gap(roomId, after, before),
    });
    if (options.userId !== undefined) this.#setUser(String(options.userId));
  }

  /** `closed`, `connecting`, `syncing`, `online`, `offline` (waiting until `stateDetail.retryAt`), `unauthenticated` */
  get state() {
    return this.#connection.state.state;
  }

  get stateDetail() {
    return this.#connection.state;
  }

  /** Id of the signed-in user, as far as it is known. */
  get userId() {
    return this.#userId;
  }

  get deviceId() {
    return this.#device.deviceId(this.#options.userId);
  }

  /** The last welcome frame: limits, features, session_id. */
  get welcome() {
    return this.#welcome;
  }

  /** @returns {number | undefined} highest sequence that this tab has handled */
  get cursor() {
    return this.#timeline.cursor;
  }

  /** @returns {import("./outbox.js").Outgoing[]} messages without an ack, oldest first; also those of before a reload */
  get outgoing() {
    return this.#outbox.list();
  }

  /**
   * Connect, and stay connected until `disconnect()`.
   * @param {{cursor?: number}} [from] where the page's own knowledge ends, e.g. the highest `last_sequence` of the rooms
   *   it has just loaded by REST. Without it: where this device stopped the last time
   */
  connect({ cursor } = {}) {
    if (cursor !== undefined && this.#timeline.cursor === undefined) this.#timeline.start(cursor);
    this.#options.window?.addEventListener("storage", this.#onStorage);
    this.#options.window?.addEventListener("pagehide", this.#onPageHide);
    this.#connection.connect();
  }

  disconnect() {
    this.#persist();
    this.#options.window?.removeEventListener("storage", this.#onStorage);
    this.#options.window?.removeEventListener("pagehide", this.#onPageHide);
    this.#connection.disconnect();
  }

  /** Try again now instead of at `retryAt`. */
  retryNow() {
    this.#connection.retryNow();
  }

  /**
   * Call `listener` with the detail of every event of this type.
   * @returns {() => void} stops it
   */
  on(type, listener) {
    const handler = (event) => listener(event.detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  /**
   * Send a message; offline too. It is kept and sent again, with the same ack_id, until the server has acknowledged it.
   * @param {{room_id?: string, to?: string, payload: *, reply_to?: string, mentions?: string[], attachments?: string[],
   *   sealed?: boolean, ack_id?: string}} message `to` is a user id, `attachments` are ids of uploaded files; what is
   *   `sealed` never leaves as it is: the cipher of `use()` makes its frame
   * @returns {import("./outbox.js").Outgoing} follow it by its `acked` promise or the `outgoing` event
   * @throws {ManaError} `too_large`; `not_encrypted` for what is not sealed, where the cipher lets nothing out in the clear
   */
  send({ room_id, to, payload, reply_to, mentions, attachments, sealed, ack_id = uuid() }) {
    if (!sealed && this.#cipher?.allows?.({ room_id, to }) === false) throw inTheClear();
    const message = { room_id, to, payload, reply_to, mentions, attachments, sealed, ack_id };
    const limit = this.#welcome?.limits?.max_message_size ?? MAX_MESSAGE_SIZE;
    const size = new TextEncoder().encode(JSON.stringify(frameOf(message))).length;
    if (size > limit) throw new ManaError("too_large", `The message has ${size} bytes, ${limit} are allowed.`);
    if (room_id) this.#typing.sent(room_id);
    return this.#outbox.add(message);
  }

  /** Encryption, or whatever else stands between the page and what travels; once, before `connect()`. @param {Cipher} cipher */
  use(cipher) {
    this.#cipher = cipher;
    this.#outbox.use(cipher);
  }

  /** Replace what a message says. @param {string[]} [mentions] absent: whom it mentioned before */
  edit(messageId, payload, mentions) {
    return this.request({ type: "message_edit", message_id: messageId, payload, mentions });
  }

  /** Delete a message. @param {"everyone" | "me"} [scope] */
  deleteMessage(messageId, scope = "everyone") {
    return this.request({ type: "message_delete", message_id: messageId, scope });
  }

  /** Put an emoji on a message, or with `remove` take it back. */
  react(messageId, emoji, { remove = false } = {}) {
    return this.request({ type: "reaction", message_id: messageId, emoji, remove });
  }

  /** Upload a file for a message: see uploads.js. */
  upload(file, options) {
    return upload(this.rest, file, options);
  }

  /** Send a failed message again. */
  retry(ackId) {
    this.#outbox.retry(ackId);
  }

  /** Forget an unsent message. */
  discard(ackId) {
    this.#outbox.discard(ackId);
  }

  /**
   * Send a frame and wait for its answer: the `ack`, or the `history`/`message_sync`/`pong` frame asked for.
   * @param {object} frame without ack_id
   * @returns {Promise<object>} rejects with a ManaError: the server's, or `offline`, `disconnected`, `timeout`
   */
  request(frame, { timeout = REQUEST_TIMEOUT } = {}) {
    const ackId = uuid();
    const answer = { sync_request: "message_sync", history: "history", ping: "pong" }[frame.type] ?? "ack";
    return new Promise((resolve, reject) => {
      if (!this.#connection.send({ ...frame, ack_id: ackId })) {
        reject(new ManaError("offline", "There is no connection."));
        return;
      }
      const timer = this.#clock.setTimeout(() => {
        this.#requests.delete(ackId);
        reject(new ManaError("timeout", "The server did not answer in time."));
      }, timeout);
      this.#requests.set(ackId, { answer, resolve, reject, timer });
    });
  }

  /** Send a frame that needs no answer. @returns {boolean} false when there is no connection */
  signal(frame) {
    return this.#connection.send(frame);
  }

  /** @param {{name?: string, room_type?: string}} [options] for a room that does not exist yet */
  join(roomId, options = {}) {
    return this.request({ type: "join", room_id: roomId, ...options });
  }

  leave(roomId) {
    return this.request({ type: "leave", room_id: roomId });
  }

  /** @param {{before?: number, after?: number, limit?: number}} range indexes of the room */
  history(roomId, range = {}) {
    return this.request({ type: "history", room_id: roomId, ...range });
  }

  /** Call it at every key press with true, and with false when the text is empty again. */
  typing(roomId, active = true) {
    this.#typing.mine(roomId, active);
  }

  /** Everything in the room up to `sequence` was seen by the user. */
  markRead(roomId, sequence) {
    this.#receipts.mark(roomId, sequence, "read");
  }

  markDelivered(roomId, sequence) {
    this.#receipts.mark(roomId, sequence, "delivered");
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #stateChanged(state) {
    this.#emit("state", state);
    if (state.state === "unauthenticated") this.#emit("unauthenticated", { code: state.code, reason: state.reason });
  }

  #setUser(userId) {
    this.#userId = userId;
    this.#stored = this.#device.user(userId);
    this.#outbox.attach(this.#stored);
  }

  #receive(frame) {
    switch (frame.type) {
      case "welcome":
        return this.#welcomed(frame);
      case "ack":
        return this.#acked(frame);
      case "error":
        return this.#refused(frame);
      case "message_sync":
        if (!this.#answer(frame, "message_sync")) this.#batch(frame);
        return undefined;
      case "history":
      case "pong":
        return void (this.#answer(frame, frame.type) || this.#emit(frame.type, frame));
      case "typing":
        return this.#typing.received(frame);
      default:
        if (!isSequenced(frame)) return this.#emit(frame.type, frame);
        this.#settleOwn(frame);
        return this.#timeline.push(frame);
    }
  }

  #welcomed(frame) {
    const userId = String(frame.user_id);
    if (this.#userId !== undefined && this.#userId !== userId) {
      // Somebody else signed in, in another tab. What this page shows and has to send is not theirs.
      this.#connection.disconnect("unauthenticated", { code: 4001, reason: "Another user has signed in." });
      return;
    }
    this.#welcome = frame;
    if (this.#userId === undefined) this.#setUser(userId);
    if (this.#timeline.cursor === undefined && this.#stored.cursor !== undefined)
      this.#timeline.start(this.#stored.cursor);
    const fresh = this.#timeline.cursor === undefined;
    const ahead = this.#timeline.cursor > frame.latest_sequence;
    if (fresh || ahead) {
      this.#timeline.start(frame.latest_sequence);
      this.#stored.resetCursor(frame.latest_sequence);
    }
    this.#timeline.hold();
    this.#connection.welcomed(frame);
    this.#emit("welcome", { ...frame, fresh });
    if (ahead) this.#emit("reset", { reason: "The server's history is shorter than what this device knows." });
    this.#sync();
    this.#outbox.online(frame.limits?.max_in_flight);
    this.#outbox.adopt();
    this.#receipts.flush();
  }

  /** Fetch everything after the cursor, then go on live. */
  async #sync() {
    if (this.#syncing) return;
    this.#syncing = true;
    const session = this.#welcome.session_id;
    const current = () => this.#welcome?.session_id === session;
    let count = 0;
    this.#emit("sync", { phase: "start", count, cursor: this.cursor });
    try {
      for (let more = true; more || !this.#timeline.release();) {
        const before = this.cursor;
        const frame = await this.#syncStep();
        if (!current()) return;
        count += this.#batch(frame);
        more = frame.has_more && this.cursor > before;
        this.#emit("sync", { phase: "batch", count, cursor: this.cursor });
      }
      this.#connection.synced();
      this.#emit("sync", { phase: "done", count, cursor: this.cursor });
    } catch (error) {
      if (!current()) return;
      this.#emit("error", error);
      this.#timeline.release();
      this.#connection.synced();
      this.#emit("reset", { reason: error.message });
    } finally {
      this.#syncing = false;
      if (this.#welcome && !current()) this.#sync(); // a new connection came while we waited
    }
  }

  /** One batch; waits and asks again as long as the server only wants patience. */
  async #syncStep() {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.request({ type: "sync_request", cursor: this.cursor, limit: SYNC_LIMIT });
      } catch (error) {
        if (!error.temporary) throw error;
        await this.#wait(error.retryAfter === undefined ? SYNC_RETRY * Math.min(tries, 10) : error.retryAfter * 1000);
      }
    }
  }

  #batch(frame) {
    const events = frame.messages ?? [];
    for (const event of events) this.#settleOwn(event);
    this.#timeline.batch(events, frame.cursor);
    return events.length;
  }

  /** A message of ours that still waits for its ack: that it comes back is as good as one. */
  #settleOwn(event) {
    if (event.type !== "message" || !event.ack_id || String(event.from) !== this.#userId) return;
    if (!this.#outbox.get(event.ack_id)) return;
    const { ack_id, id, sequence, index, room_id, timestamp } = event;
    this.#acked({
      type: "ack",
      ack_id,
      message_id: id,
      msg_id: id,
      sequence,
      index,
      room_id,
      timestamp,
      duplicate: true,
    });
  }

  #acked(frame) {
    if (frame.message_id !== undefined) this.#timeline.own(frame.message_id, frame.room_id, frame.index);
    if (this.#outbox.acknowledge(frame.ack_id, frame)) return;
    this.#answer(frame, "ack");
  }

  #refused(frame) {
    const error = ManaError.fromFrame(frame);
    if (frame.ack_id !== undefined) {
      if (this.#outbox.refuse(frame.ack_id, error)) return;
      const request = this.#take(frame.ack_id);
      if (request) return void request.reject(error);
    }
    this.#emit("error", error);
  }

  /** Give a frame to the request that waits for one of its kind. */
  #answer(frame, type) {
    let ackId = frame.ack_id;
    if (ackId === undefined) ackId = [...this.#requests].find(([, request]) => request.answer === type)?.[0];
    if (this.#requests.get(ackId)?.answer !== type) return false;
    this.#take(ackId).resolve(frame);
    return true;
  }

  #take(ackId) {
    const request = this.#requests.get(ackId);
    this.#clock.clearTimeout(request?.timer);
    this.#requests.delete(ackId);
    return request;
  }

  /** The index of a room has jumped: give the missing events a moment, then fetch them. */
  #gap(roomId, after, before) {
    this.#clock.clearTimeout(this.#gapTimer);
    this.#gapTimer = this.#clock.setTimeout(() => this.#repair(roomId, after, before), GAP_WAIT);
  }

  async #repair(roomId, after, before) {
    if (!this.#timeline.waiting) return;
    const session = this.#welcome.session_id;
    try {
      for (let last = after, more = true; more && last < before - 1;) {
        const frame = await this.history(roomId, { after: last, limit: SYNC_LIMIT });
        const events = (frame.messages ?? []).filter((event) => event.index < before);
        this.#batch({ messages: events });
        const highest = Math.max(last, ...events.map((event) => event.index));
        more = frame.has_more && highest > last;
        last = highest;
      }
    } catch (error) {
      if (this.#welcome?.session_id === session) this.#emit("error", error);
    }
    // On another connection by now, its sync brings what was held.
    if (this.#welcome?.session_id === session && this.#timeline.waiting) this.#timeline.release();
  }

  /** Tell an event, after those before it that have to be opened. */
  #tell(event) {
    const covered = this.#cipher?.covers(event);
    if (!covered && !this.#opening) return this.#told(event);
    const cipher = this.#cipher;
    const turn = (this.#opening ?? Promise.resolve())
      .then(() => (covered ? cipher.open(event) : event))
      .then((opened) => opened && this.#told(opened))
      .catch((error) => this.#emit("error", error))
      .then(() => {
        if (this.#opening === turn) this.#opening = null;
      });
    this.#opening = turn;
    return undefined;
  }

  #told(event) {
    if (event.type === "message" && String(event.from) !== this.#userId) {
      this.#typing.received({ type: "typing", room_id: event.room_id, from: event.from, payload: false });
      if (this.#options.autoDelivered) this.#receipts.mark(event.room_id, event.sequence, "delivered");
    }
    this.#emit(event.type, event);
  }

  #lost() {
    this.#welcome = null;
    this.#clock.clearTimeout(this.#gapTimer);
    this.#outbox.offline();
    this.#typing.reset();
    for (const ackId of [...this.#requests.keys()]) {
      this.#take(ackId).reject(new ManaError("disconnected", "The connection was lost."));
    }
  }

  #persist() {
    this.#clock.clearTimeout(this.#cursorTimer);
    this.#cursorTimer = null;
    if (this.cursor !== undefined) this.#stored?.raiseCursor(this.cursor);
  }

  #abandonedKey(event) {
    return event.newValue === null ? this.#stored?.ackIdOf(event.key) : null;
  }

  #wait(ms) {
    return new Promise((resolve) => this.#clock.setTimeout(resolve, ms));
  }
}

/**
 * Messages, room changes, edits ...: whatever has a place in the order of all events. What only the user is told has no
 * index in a room. A receipt only points at an event.
 */
function isSequenced(frame) {
  return frame.id !== undefined && Number.isSafeInteger(frame.sequence);
}

function withDefaults(options) {
  const { location, window, document } = globalThis;
  return {
    api: "/api/",
    storage: ownStorage(),
    storagePrefix: "mana",
    autoDelivered: true,
    random: Math.random,
    WebSocket: globalThis.WebSocket,
    window,
    document,
    ...options,
    url: new URL(options.url ?? "/ws", location?.href).href.replace(/^http/, "ws"),
    clock: options.clock ?? {
      now: () => Date.now(),
      setTimeout: (run, ms) => setTimeout(run, ms),
      clearTimeout: (timer) => clearTimeout(timer),
    },
  };
}

function ownStorage() {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined; // blocked by the browser's settings
  }
}
