// The primitives, each a thin call into WebCrypto. Private keys are CryptoKeys that cannot be exported.
// `sources` is a seam: the tests replace its functions with fixed values, nothing else may.

import { ascii, concat, unhex } from "./encoding.js";
import { InvalidKey, InvalidMessage, InvalidSignature } from "./errors.js";
import { encapsulate, generateKem } from "./kem.js";

const subtle = globalThis.crypto.subtle;

export const TAG_SIZE = 16;
export const SIGNATURE_SIZE = 64;
export const KEM_PUBLIC_SIZE = 1_184;
export const KEM_CIPHERTEXT_SIZE = 1_088;

export const sources = {
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  x25519: () => generate("X25519", ["deriveBits"]),
  ed25519: () => generate("Ed25519", ["sign", "verify"]),
  kem: generateKem,
  encapsulate,
};

/** {privateKey, publicKey}: a CryptoKey that stays here, and the raw public key. */
async function generate(algorithm, usages) {
  const pair = await subtle.generateKey({ name: algorithm }, false, usages);
  return { privateKey: pair.privateKey, publicKey: new Uint8Array(await subtle.exportKey("raw", pair.publicKey)) };
}

const PKCS8 = {
  X25519: unhex("302e020100300506032b656e04220420"),
  Ed25519: unhex("302e020100300506032b657004220420"),
};

/** The pair of a raw private key of 32 bytes, for account keys from a backup and for tests. */
export async function importPair(algorithm, seed) {
  const usages = algorithm === "X25519" ? ["deriveBits"] : ["sign"];
  const encoded = concat(PKCS8[algorithm], seed);
  const readable = await subtle.importKey("pkcs8", encoded, { name: algorithm }, true, usages);
  const { x } = await subtle.exportKey("jwk", readable);
  const publicKey = Uint8Array.from(atob(x.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  return { privateKey: await subtle.importKey("pkcs8", encoded, { name: algorithm }, false, usages), publicKey };
}

export async function sha256(data) {
  return new Uint8Array(await subtle.digest("SHA-256", data));
}

export async function sha512(data) {
  return new Uint8Array(await subtle.digest("SHA-512", data));
}

/** HMAC-SHA256 of each of `messages` under one key. */
export async function hmacs(key, ...messages) {
  const imported = await subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const macs = await Promise.all(messages.map((message) => subtle.sign("HMAC", imported, message)));
  return macs.map((mac) => new Uint8Array(mac));
}

/** HKDF-SHA256, `length` bytes. */
export async function hkdf(secret, { salt, info, length }) {
  const imported = await subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  return new Uint8Array(await subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, imported, 8 * length));
}

/** AES-256-GCM under the 44 bytes key || nonce, which the caller derives fresh and uses once. */
export async function seal(keyAndNonce, plaintext, additionalData) {
  const key = await subtle.importKey("raw", keyAndNonce.subarray(0, 32), "AES-GCM", false, ["encrypt"]);
  const iv = keyAndNonce.subarray(32);
  return new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv, additionalData }, key, plaintext));
}

export async function unseal(keyAndNonce, ciphertext, additionalData) {
  const key = await subtle.importKey("raw", keyAndNonce.subarray(0, 32), "AES-GCM", false, ["decrypt"]);
  const iv = keyAndNonce.subarray(32);
  try {
    return new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv, additionalData }, key, ciphertext));
  } catch {
    throw new InvalidMessage("the message does not authenticate");
  }
}

export async function x25519(privateKey, publicKey) {
  const imported = await subtle.importKey("raw", publicKey, { name: "X25519" }, true, []);
  try {
    return new Uint8Array(await subtle.deriveBits({ name: "X25519", public: imported }, privateKey, 256));
  } catch {
    throw new InvalidKey("the X25519 key is of low order");
  }
}

export async function sign(privateKey, data) {
  return new Uint8Array(await subtle.sign("Ed25519", privateKey, data));
}

/** Throws InvalidSignature. `publicKey` must have passed `checkEd25519`. */
export async function verify(publicKey, signature, data) {
  let good = false;
  try {
    const imported = await subtle.importKey("raw", publicKey, { name: "Ed25519" }, true, ["verify"]);
    good = await subtle.verify("Ed25519", imported, signature, data);
  } catch {
    // Some browsers refuse a key that is not a point when it is imported, some when it is used.
  }
  if (!good) throw new InvalidSignature("the signature does not verify");
}

export const label = (text) => ascii(`Mana-E2EE v1 ${text}`);
