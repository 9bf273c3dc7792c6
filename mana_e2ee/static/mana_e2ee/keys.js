// Public keys with a type byte, and the keys that must be refused. See core/keys.py.

import { checkBytes, concat, hex, u8 } from "./encoding.js";
import { InvalidKey } from "./errors.js";
import { KEM_PUBLIC_SIZE } from "./primitives.js";

export const ED25519 = 1;
export const X25519 = 2;
export const MLKEM768 = 3;
export const TYPED_SIZE = 33;

const SIZES = { [ED25519]: 32, [X25519]: 32, [MLKEM768]: KEM_PUBLIC_SIZE };
const P = 2n ** 255n - 19n;
const Q = 3_329;

const SMALL_Y = new Set([
  0n,
  1n,
  P - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]);
const SMALL_U = new Set([
  0n,
  1n,
  P - 1n,
  0x57119fd0dd4e22d8868e1c58c45c44045bef839c55b1d0b1248c50a3bc959c5fn,
  0x00b8495f16056286fdb1329ceb8d09da6ac49ff1fae35616aeb8413b7c7aebe0n,
]);

const integer = (littleEndian) => BigInt(`0x${hex(littleEndian.slice().reverse())}`);

/** The 32 bytes unchanged, or InvalidKey when y is not canonical or the point is of small order. */
export function checkEd25519(key) {
  const y = integer(key) & (2n ** 255n - 1n);
  if (y >= P || SMALL_Y.has(y)) throw new InvalidKey("the Ed25519 key is not canonical, or of small order");
  return key;
}

/** The 32 bytes unchanged, or InvalidKey when u is not canonical or of small order. */
export function checkX25519(key) {
  const u = integer(key);
  if (u >= P || SMALL_U.has(u)) throw new InvalidKey("the X25519 key is not canonical, or of small order");
  return key;
}

/** The modulus check of FIPS 203, 7.2: every 12-bit coefficient is below q. */
function checkKem(key) {
  for (let index = 0; index < KEM_PUBLIC_SIZE - 32; index += 3) {
    const low = key[index] | ((key[index + 1] & 15) << 8);
    const high = (key[index + 1] >> 4) | (key[index + 2] << 4);
    if (low >= Q || high >= Q) throw new InvalidKey("not an ML-KEM-768 key");
  }
  return key;
}

export const encodeKey = (kind, key) => concat(u8(kind), key);

/** The key without its type byte; throws InvalidKey. */
export function decodeKey(kind, encoded) {
  if (checkBytes(encoded).length !== SIZES[kind] + 1) throw new InvalidKey(`a key has ${encoded.length} bytes`);
  if (encoded[0] !== kind) throw new InvalidKey(`a key has type ${encoded[0]} instead of ${kind}`);
  const key = encoded.slice(1);
  if (kind === ED25519) return checkEd25519(key);
  return kind === X25519 ? checkX25519(key) : checkKem(key);
}
