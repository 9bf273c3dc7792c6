// A long plaintext as AES-256-GCM chunks. See core/chunks.py.

import { concat, u32, u8 } from "./encoding.js";
import { InvalidMessage } from "./errors.js";
import { ATTACHMENT_CHUNK, MAX_CHUNKS } from "./limits.js";
import { TAG_SIZE, seal, unseal } from "./primitives.js";

const secret = (key, index, last) => concat(key, new Uint8Array(7), u32(index), u8(last ? 1 : 0));

async function* pieces(parts, size) {
  let held = new Uint8Array();
  let index = 0;
  for await (const part of parts) {
    const data = concat(held, part);
    let start = 0;
    while (data.length - start > size) {
      yield [index++, data.subarray(start, start + size), false];
      start += size;
    }
    held = data.slice(start);
  }
  yield [index, held, true];
}

/** Sealed chunks of 65,552 bytes, the last of 16 to 65,552. `plaintext` is any iterable of Uint8Arrays. */
export async function* sealChunks(key, plaintext, chunkLabel) {
  for await (const [index, piece, last] of pieces(plaintext, ATTACHMENT_CHUNK)) {
    if (index >= MAX_CHUNKS) throw new InvalidMessage("the plaintext has too many chunks");
    yield await seal(secret(key, index, last), piece, chunkLabel);
  }
}

/** The plaintext, chunk by chunk; it is whole only when the iterator ends without InvalidMessage. */
export async function* openChunks(key, ciphertext, chunkLabel) {
  for await (const [index, piece, last] of pieces(ciphertext, ATTACHMENT_CHUNK + TAG_SIZE)) {
    if (index >= MAX_CHUNKS) throw new InvalidMessage("the ciphertext has too many chunks");
    yield await unseal(secret(key, index, last), piece, chunkLabel);
  }
}

export async function collect(iterable) {
  const parts = [];
  for await (const part of iterable) parts.push(part);
  return concat(...parts);
}
