/**
 * What a device remembers between page loads: its id, and for each user the cursor and the messages that the server
 * has not acknowledged yet.
 *
 * Several tabs share it, so nothing here is read, changed and written back as a whole. Each unsent message has a key
 * of its own. The cursor only moves up: when two tabs write at the same moment the lower one may win, and then the
 * device is told again of what it knows. It never misses anything.
 */
export class DeviceStorage {
  #storage;
  #prefix;

  /**
   * @param {Storage} [storage] usually localStorage; without one, or when it refuses, memory serves instead
   * @param {string} [prefix] start of every key
   */
  constructor(storage, prefix = "mana") {
    this.#storage = new SafeStorage(storage);
    this.#prefix = prefix;
  }

  /** The id of this device, made at the first call. Accounts that share a browser profile get one each. */
  deviceId(userId) {
    const key = userId ? `${this.#prefix}:${userId}:device` : `${this.#prefix}:device`;
    let id = this.#storage.get(key);
    if (!id) {
      id = uuid();
      this.#storage.set(key, id);
    }
    return id;
  }

  /** @param {string} userId */
  user(userId) {
    return new UserStorage(this.#storage, `${this.#prefix}:${userId}`);
  }
}

class UserStorage {
  #storage;
  #cursorKey;
  #outboxPrefix;

  constructor(storage, prefix) {
    this.#storage = storage;
    this.#cursorKey = `${prefix}:cursor`;
    this.#outboxPrefix = `${prefix}:outbox:`;
  }

  /** @returns {number | undefined} the highest sequence that a tab of this device has handled */
  get cursor() {
    const text = this.#storage.get(this.#cursorKey);
    const value = Number(text);
    return text !== null && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  }

  raiseCursor(value) {
    if (!(this.cursor >= value)) this.#storage.set(this.#cursorKey, String(value));
  }

  /** Set back after the server has lost its history (a restored or new database). */
  resetCursor(value) {
    this.#storage.set(this.#cursorKey, String(value));
  }

  saveMessage(message) {
    this.#storage.set(this.#outboxPrefix + message.ack_id, JSON.stringify(message));
  }

  removeMessage(ackId) {
    this.#storage.remove(this.#outboxPrefix + ackId);
  }

  /** @returns {object[]} the unsent messages of all tabs, oldest first */
  messages() {
    const found = [];
    for (const key of this.#storage.keys()) {
      if (!key.startsWith(this.#outboxPrefix)) continue;
      try {
        const message = JSON.parse(this.#storage.get(key));
        if (message?.ack_id) found.push(message);
      } catch {
        this.#storage.remove(key); // not ours, or cut off by a full disk: nothing to send in it
      }
    }
    return found.sort((a, b) => a.at - b.at || a.order - b.order);
  }

  /** @returns {string | null} the ack_id, when a `storage` event's key is that of an unsent message */
  ackIdOf(key) {
    return key?.startsWith(this.#outboxPrefix) ? key.slice(this.#outboxPrefix.length) : null;
  }
}

/** A Storage that never throws: private windows refuse it, and a full one refuses new values. */
class SafeStorage {
  #storage;
  #memory = new Map();

  constructor(storage) {
    this.#storage = storage;
  }

  get(key) {
    if (this.#memory.has(key)) return this.#memory.get(key);
    try {
      return this.#storage?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  set(key, value) {
    try {
      if (!this.#storage) throw new TypeError("no storage");
      this.#storage.setItem(key, value);
      this.#memory.delete(key);
    } catch {
      this.#memory.set(key, value);
    }
  }

  remove(key) {
    this.#memory.delete(key);
    try {
      this.#storage?.removeItem(key);
    } catch {
      // refused: there is nothing in it either
    }
  }

  keys() {
    const keys = new Set(this.#memory.keys());
    try {
      for (let i = 0; i < (this.#storage?.length ?? 0); i += 1) keys.add(this.#storage.key(i));
    } catch {
      // refused: memory is all there is
    }
    return keys;
  }
}

/** A random UUID, also on plain http pages, where browsers hide crypto.randomUUID. */
export function uuid() {
  if (globalThis.crypto?.randomUUID) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
