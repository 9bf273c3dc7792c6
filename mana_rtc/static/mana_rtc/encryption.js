import { Queue } from "./emitter.js";

const ROTATE = 50; // ms in which several changes of who is there become one new key
const KEY_BYTES = 32;

/**
 * End-to-end encrypted media: what is sent is encrypted in the browser (sframe.js), with a key of this person's own that
 * all others in the call get, sealed by the application's encryption and relayed by `call_key`. A new key is made
 * whenever somebody comes or goes: who has left can't open what comes later, who joins not what was said before.
 *
 * The `transport` of the keys is given by the application:
 * - `seal(userIds, object, {call_id}) -> {user_id: sealed}`, `sealed` any JSON value, such as {device: ciphertext}
 * - `open({from, device_id, call_id, sealed}) -> object`; rejects if it is not for this device or not from them
 */
export class CallEncryption {
  /** What an RTCPeerConnection is made with besides. */
  configuration = "RTCRtpScriptTransform" in globalThis ? {} : { encodedInsertableStreams: true };
  #hooks;
  #worker;
  #members = new Map(); // user id -> id of the session that they are in it with
  #epoch = -1;
  #instance = crypto.randomUUID();
  #newest = new Map(); // user id -> {instance, epoch} of their last key
  #done = new Map(); // number -> resolve
  #number = 0;
  #timer = null;
  #attached = new Map(); // receiver -> {end: its number in the worker, user}
  #work;

  /**
   * @param {{transport: object, callId: () => string, roomId: () => string, request: (frame: object) => Promise<object>,
   *   onKey: (userId: string, opens: boolean) => void, onError: (error: Error) => void}} hooks
   */
  constructor(hooks) {
    this.#hooks = hooks;
    this.#work = new Queue(hooks.onError);
    this.#worker = new Worker(new URL("./encryption_worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#told(data);
  }

  static get isSupported() {
    return "RTCRtpScriptTransform" in globalThis || "createEncodedStreams" in (globalThis.RTCRtpSender?.prototype ?? {});
  }

  /**
   * Who is in the call besides us. Who goes on with another session gets a new key: what was sent to the one before may
   * be lost.
   * @param {{user_id: string, session_id: string | null}[]} members
   */
  setMembers(members) {
    const now = new Map(members.map(({ user_id, session_id }) => [user_id, session_id]));
    const before = this.#members;
    if (now.size === before.size && [...now].every(([user, session]) => before.get(user) === session)) return;
    this.#members = now;
    for (const user of before.keys()) {
      if (now.has(user)) continue;
      this.#newest.delete(user);
      this.#post({ type: "forget", user });
    }
    this.refresh();
  }

  /** A new key for all who are there: also after a lost connection, in which keys may have been lost. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#work.add(() => this.#rotate()), ROTATE);
  }

  /** A sender's frames are encrypted. */
  send(transceiver, kind) {
    // Only of VP8 do we know what must stay readable.
    if (kind === "video") transceiver.setCodecPreferences(vp8());
    this.#attach(transceiver.sender, { direction: "send", kind });
  }

  /** A receiver's frames are those of this user from now on; before that is known (null) none is let through. */
  receive(receiver, userId) {
    let known = this.#attached.get(receiver);
    if (!known) {
      known = { end: this.#attached.size, user: null };
      this.#attached.set(receiver, known);
      this.#attach(receiver, { direction: "receive", kind: receiver.track.kind, end: known.end });
    }
    if (userId === null || known.user === userId) return;
    known.user = userId;
    this.#post({ type: "from", end: known.end, user: userId });
  }

  /** A `call_key` frame. */
  receiveKey({ from, device_id, call_id, payload }) {
    if (call_id !== this.#hooks.callId()) return;
    this.#work.add(async () => {
      const { call_id: of, epoch, instance, key } = await this.#hooks.transport.open({ from, device_id, call_id, sealed: payload });
      const newest = this.#newest.get(from);
      if (of !== call_id || !Number.isInteger(epoch) || (newest?.instance === instance && newest.epoch >= epoch)) return;
      this.#newest.set(from, { instance, epoch });
      await this.#post({ type: "key", user: from, id: epoch & 255, raw: bytesOf(key) });
    });
  }

  close() {
    clearTimeout(this.#timer);
    this.#worker.terminate();
  }

  async #rotate() {
    const members = [...this.#members.keys()];
    const epoch = (this.#epoch += 1);
    const raw = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
    const call_id = this.#hooks.callId();
    if (members.length) {
      const content = { call_id, epoch, instance: this.#instance, key: textOf(raw) };
      const payloads = await this.#hooks.transport.seal(members, content, { call_id });
      if (Object.keys(payloads).length)
        await this.#hooks.request({ type: "call_key", room_id: this.#hooks.roomId(), call_id, payloads });
    }
    await this.#post({ type: "own", id: epoch & 255, raw });
  }

  #attach(end, options) {
    if ("RTCRtpScriptTransform" in globalThis) {
      end.transform = new RTCRtpScriptTransform(this.#worker, options);
      return;
    }
    const { readable, writable } = end.createEncodedStreams();
    this.#worker.postMessage({ type: "streams", options, readable, writable }, [readable, writable]);
  }

  #post(message) {
    const number = (this.#number += 1);
    const done = new Promise((resolve) => this.#done.set(number, resolve));
    this.#worker.postMessage({ ...message, number });
    return done;
  }

  #told({ type, number, user, opens }) {
    if (type === "opens") return this.#hooks.onKey(user, opens);
    this.#done.get(number)?.();
    return this.#done.delete(number);
  }
}

function vp8() {
  const { codecs } = RTCRtpSender.getCapabilities("video");
  return codecs.filter(({ mimeType }) => ["video/VP8", "video/rtx"].includes(mimeType));
}

function textOf(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

function bytesOf(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.codePointAt(0));
  if (bytes.length !== KEY_BYTES) throw new Error("a key has another length");
  return bytes;
}
