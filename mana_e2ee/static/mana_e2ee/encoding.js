// Bytes in and out: big-endian integers, length-prefixed fields, a reader that never reads past the end.

import { InvalidMessage } from "./errors.js";
import { MAX_COUNTER, MAX_NAME } from "./limits.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const ascii = (text) => encoder.encode(text);

const isUint8Array = (value) => Object.prototype.toString.call(value) === "[object Uint8Array]"; // of any realm

/**
 * The bytes as a plain Uint8Array on the same memory. Anything but bytes would silently become zeros, and Node's Buffer
 * has a `slice` that does not copy.
 */
export function checkBytes(value) {
  if (!ArrayBuffer.isView(value) || !isUint8Array(value)) throw new InvalidMessage("not a Uint8Array");
  if (value.constructor === Uint8Array) return value;
  return new Uint8Array(value.buffer, value.byteOffset, value.length);
}

/** A copy of at most `limit` bytes, which the caller cannot change while a Promise is waited for. */
export const copyBytes = (value, limit = Infinity) => checkBytes(value).slice(0, limit);

export function concat(...parts) {
  for (const part of parts) checkBytes(part);
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}

export const u8 = (value) => Uint8Array.of(value);

export function u32(value) {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** A whole number up to 2^53 - 1 in eight bytes. */
export function u64(value) {
  return concat(u32(Math.floor(value / 2 ** 32)), u32(value % 2 ** 32));
}

export const lp = (value) => concat(u32(value.length), value);

/** Length-prefixed fields, one after the other: what every hash and signature of the protocol covers. */
export const fields = (...values) => concat(...values.flatMap((value) => [u32(value.length), value]));

/** A user, device or group id as UTF-8: 1 to 255 bytes, never normalised. */
export function name(text) {
  if (typeof text !== "string" || /\p{Surrogate}/u.test(text)) throw new InvalidMessage("an id is not valid text");
  const encoded = encoder.encode(text);
  if (encoded.length < 1 || encoded.length > MAX_NAME) {
    throw new InvalidMessage(`an id has ${encoded.length} bytes, allowed are 1 to ${MAX_NAME}`);
  }
  return encoded;
}

export function equal(one, other) {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let index = 0; index < one.length; index++) difference |= one[index] ^ other[index];
  return difference === 0;
}

/** -1, 0 or 1, in the order of the bytes. */
export function compare(one, other) {
  for (let index = 0; index < Math.min(one.length, other.length); index++) {
    if (one[index] !== other[index]) return one[index] < other[index] ? -1 : 1;
  }
  return Math.sign(one.length - other.length);
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export function hex(bytes) {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

export function unhex(text) {
  return Uint8Array.from({ length: text.length / 2 }, (_, index) => parseInt(text.slice(2 * index, 2 * index + 2), 16));
}

/** Takes fields from the front. Throws InvalidMessage when there are not enough bytes. */
export class Reader {
  #data;
  #position = 0;

  constructor(data) {
    this.#data = checkBytes(data);
  }

  get position() {
    return this.#position;
  }

  take(length) {
    const end = this.#position + length;
    if (end > this.#data.length) throw new InvalidMessage("the bytes end too early");
    const piece = this.#data.slice(this.#position, end);
    this.#position = end;
    return piece;
  }

  u8() {
    return this.take(1)[0];
  }

  u32() {
    const [a, b, c, d] = this.take(4);
    return a * 2 ** 24 + ((b << 16) | (c << 8) | d);
  }

  /** A u32 up to MAX_COUNTER. */
  counter() {
    const value = this.u32();
    if (value > MAX_COUNTER) throw new InvalidMessage("a counter is above 2^31 - 1");
    return value;
  }

  u64() {
    const value = this.u32() * 2 ** 32 + this.u32();
    if (!Number.isSafeInteger(value)) throw new InvalidMessage("a number is above 2^53 - 1");
    return value;
  }

  lp(limit) {
    const length = this.u32();
    if (length > limit) throw new InvalidMessage(`a field has ${length} bytes, allowed are ${limit}`);
    return this.take(length);
  }

  name() {
    const encoded = this.lp(MAX_NAME);
    if (encoded.length === 0) throw new InvalidMessage("an id is empty");
    try {
      return decoder.decode(encoded);
    } catch {
      throw new InvalidMessage("an id is not valid UTF-8");
    }
  }

  rest() {
    return this.take(this.#data.length - this.#position);
  }

  end() {
    if (this.#position !== this.#data.length) throw new InvalidMessage("there are bytes after the end");
  }
}
