// The bytes of a message: header of 58 bytes, handshake block of a first message, padding. See core/envelope.py.

import { Reader, checkBytes, concat, u32, u8 } from "./encoding.js";
import { InvalidMessage } from "./errors.js";
import { TYPED_SIZE, X25519, checkX25519, decodeKey, encodeKey } from "./keys.js";
import { BUCKET_STEP, MAX_PLAINTEXT, MIN_BUCKET, VERSION } from "./limits.js";
import { KEM_CIPHERTEXT_SIZE, TAG_SIZE } from "./primitives.js";
import { DeviceRecord, MAX_CLAIMS, SUITES, SUITE_PQXDH, checkVersion } from "./records.js";

export const MESSAGE = 1;
export const FIRST_MESSAGE = 2;
export const GROUP_MESSAGE = 3;
export const SENDER_KEY = 4;
export const RETRY_REQUEST = 5;
export const BACKUP = 6;

export const HEADER_SIZE = 58;
export const SESSION_ID_SIZE = 16;
export const MAX_CIPHERTEXT = MAX_PLAINTEXT + 1 + TAG_SIZE;
export const MIN_CIPHERTEXT = MIN_BUCKET + TAG_SIZE;
const MAX_BLOCK = 1 + MAX_CLAIMS + TYPED_SIZE + 12 + KEM_CIPHERTEXT_SIZE;
export const MAX_MESSAGE = HEADER_SIZE + MAX_BLOCK + MAX_CIPHERTEXT; // longer than any group message too

export function packHeader({ kind, sessionId, ratchetKey, previous, number }) {
  return concat(u8(VERSION), u8(kind), sessionId, ratchetKey, u32(previous), u32(number));
}

/** What the responder needs to agree on the same secret. Ids of 0 mean none. */
export class HandshakeBlock {
  constructor({ suite, record, ephemeral, signedPrekeyId, oneTimeId, kemId, kemCiphertext }) {
    Object.assign(this, { suite, record, ephemeral, signedPrekeyId, oneTimeId, kemId, kemCiphertext });
    Object.freeze(this);
  }

  toBytes() {
    return concat(
      u8(this.suite),
      this.record.claims(),
      encodeKey(X25519, this.ephemeral),
      u32(this.signedPrekeyId),
      u32(this.oneTimeId),
      u32(this.kemId),
      this.kemCiphertext,
    );
  }

  static read(sender, reader) {
    const suite = reader.u8();
    if (!SUITES.includes(suite)) throw new InvalidMessage(`there is no suite ${suite}`);
    const record = DeviceRecord.readClaims(sender, reader);
    const ephemeral = decodeKey(X25519, reader.take(TYPED_SIZE));
    const [signedPrekeyId, oneTimeId, kemId] = [reader.u32(), reader.u32(), reader.u32()];
    if (signedPrekeyId === 0 || (kemId === 0) === (suite === SUITE_PQXDH)) {
      throw new InvalidMessage("the prekey ids do not fit the suite");
    }
    const kemCiphertext = reader.take(suite === SUITE_PQXDH ? KEM_CIPHERTEXT_SIZE : 0);
    return new HandshakeBlock({ suite, record, ephemeral, signedPrekeyId, oneTimeId, kemId, kemCiphertext });
  }
}

/** Takes a pairwise message apart: {header, block, prefix, ciphertext}, without any cryptography. */
export function parse(sender, data) {
  const reader = new Reader(data);
  if (data.length === 0) throw new InvalidMessage("the message is empty");
  checkVersion(data[0]);
  if (data.length < HEADER_SIZE || data.length > MAX_MESSAGE) {
    throw new InvalidMessage("the message is shorter than its header, or longer than any message");
  }
  reader.u8();
  const kind = reader.u8();
  const header = {
    kind,
    sessionId: reader.take(SESSION_ID_SIZE),
    ratchetKey: checkX25519(reader.take(32)),
    previous: reader.counter(),
    number: reader.counter(),
  };
  let block = null;
  if (kind === FIRST_MESSAGE) block = HandshakeBlock.read(sender, reader);
  else if (kind !== MESSAGE) throw new InvalidMessage(`type ${kind} is not a pairwise message`);
  const start = reader.position;
  const ciphertext = reader.rest();
  if (ciphertext.length < MIN_CIPHERTEXT || ciphertext.length > MAX_CIPHERTEXT) {
    throw new InvalidMessage("the ciphertext is too short or too long");
  }
  return { header, block, prefix: checkBytes(data).slice(0, start), ciphertext };
}

/** The padded length of a plaintext: a power of two from 32 to 1,024, then a multiple of 1,024. */
export function bucket(length) {
  const needed = length + 1;
  if (needed > BUCKET_STEP) return Math.ceil(needed / BUCKET_STEP) * BUCKET_STEP;
  let size = MIN_BUCKET;
  while (size < needed) size *= 2;
  return size;
}

export function pad(plaintext) {
  if (checkBytes(plaintext).length > MAX_PLAINTEXT) throw new InvalidMessage(`a plaintext has ${plaintext.length} bytes`);
  const padded = new Uint8Array(bucket(plaintext.length));
  padded.set(plaintext);
  padded[plaintext.length] = 0x80;
  return padded;
}

export function unpad(padded) {
  let end = padded.length;
  while (end > 0 && padded[end - 1] === 0) end--;
  if (end === 0 || padded[end - 1] !== 0x80 || padded.length !== bucket(end - 1)) {
    throw new InvalidMessage("the padding is wrong");
  }
  return padded.slice(0, end - 1);
}
