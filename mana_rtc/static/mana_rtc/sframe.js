/**
 * Encrypted frames of media. As in SFrame (RFC 9605) each has a key id and a counter; they stand at the end, because a
 * forwarding server must find the codec's first bytes where they always are:
 *
 *     first bytes, readable | AES-256-GCM ciphertext and tag | counter, 6 bytes | key id, 1 | length of the first part, 1
 *
 * The readable part and the trailer are authenticated. Of VP8 the first 10 bytes of a key frame stay readable (RFC 6386
 * section 9.1: whether it is one, and its size), 3 of another frame, 1 of a voice.
 */
const TRAILER = 8; // bytes
const TAG = 16;
const WINDOW = 512; // frames that may come out of order
const MAX_COUNTER = 2 ** 48;

/** A key for AES-GCM and the salt of its nonces. @param {Uint8Array} raw 32 random bytes */
export async function frameKey(raw) {
  const base = await crypto.subtle.importKey("raw", raw, "HKDF", false, ["deriveKey", "deriveBits"]);
  const hkdf = (info) => ({ name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: new TextEncoder().encode(`mana call media v1 ${info}`) });
  const key = await crypto.subtle.deriveKey(hkdf("key"), base, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  const salt = new Uint8Array(await crypto.subtle.deriveBits(hkdf("salt"), base, 96));
  return { key, salt };
}

/** Encrypts what one person sends, all their tracks with one key: no counter is used twice. */
export class FrameSealer {
  #key = null;
  #id = 0;
  #counter = 0;

  /** @param {number} id 0 to 255 */
  setKey(id, key) {
    this.#key = key;
    this.#id = id;
    this.#counter = 0;
  }

  /** @returns {Promise<ArrayBuffer | null>} null while there is no key: nothing goes out in the clear */
  async seal(data, kind, isKeyFrame) {
    const key = this.#key;
    if (!key || this.#counter >= MAX_COUNTER) return null;
    const counter = this.#counter++;
    const bytes = new Uint8Array(data);
    const readable = Math.min(bytes.length, kind === "audio" ? 1 : isKeyFrame ? 10 : 3);
    const trailer = new Uint8Array(TRAILER);
    const view = new DataView(trailer.buffer);
    view.setUint16(0, Math.floor(counter / 2 ** 32));
    view.setUint32(2, counter % 2 ** 32);
    view.setUint8(6, this.#id);
    view.setUint8(7, readable);
    const head = bytes.subarray(0, readable);
    const sealed = await crypto.subtle.encrypt(parameters(key.salt, head, trailer), key.key, bytes.subarray(readable));
    return joined(head, new Uint8Array(sealed), trailer).buffer;
  }
}

/** The keys of the people that are received. */
export class FrameOpener {
  #keys = new Map(); // user id -> Map(key id -> {key, seen, newest})

  /** The last three keys of somebody are kept: frames are under way while keys change. */
  setKey(userId, id, key) {
    if (!this.#keys.has(userId)) this.#keys.set(userId, new Map());
    const keys = this.#keys.get(userId);
    keys.delete(id);
    keys.set(id, { key, seen: new Set(), newest: -1 });
    if (keys.size > 3) keys.delete(keys.keys().next().value);
  }

  forget(userId) {
    this.#keys.delete(userId);
  }

  /** @returns {Promise<ArrayBuffer | null>} null for what can't be opened, was changed, or came before */
  async open(userId, data) {
    const bytes = new Uint8Array(data);
    if (bytes.length < TRAILER + TAG) return null;
    const trailer = bytes.subarray(-TRAILER);
    const view = new DataView(trailer.buffer, trailer.byteOffset, TRAILER);
    const counter = view.getUint16(0) * 2 ** 32 + view.getUint32(2);
    const entry = this.#keys.get(userId)?.get(view.getUint8(6));
    const readable = view.getUint8(7);
    if (!entry || readable > bytes.length - TRAILER - TAG) return null;
    if (entry.seen.has(counter) || counter <= entry.newest - WINDOW) return null;
    const head = bytes.subarray(0, readable);
    try {
      const plain = await crypto.subtle.decrypt(parameters(entry.key.salt, head, trailer), entry.key.key, bytes.subarray(readable, -TRAILER));
      if (entry.seen.has(counter)) return null;
      entry.seen.add(counter);
      entry.newest = Math.max(entry.newest, counter);
      if (entry.seen.size > 2 * WINDOW) for (const old of entry.seen) if (old <= entry.newest - WINDOW) entry.seen.delete(old);
      return joined(head, new Uint8Array(plain)).buffer;
    } catch {
      return null;
    }
  }
}

function parameters(salt, head, trailer) {
  const iv = salt.slice();
  for (let at = 0; at < 6; at += 1) iv[6 + at] ^= trailer[at]; // the counter
  return { name: "AES-GCM", iv, additionalData: joined(head, trailer) };
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
