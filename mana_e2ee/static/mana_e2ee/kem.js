// ML-KEM-768 (FIPS 203): the browser's own where it has one, else noble's. The bytes are the same.

const ALGORITHM = { name: "ML-KEM-768" };
const subtle = globalThis.crypto.subtle;

let noble;
let native;

async function library() {
  noble ??= (await import("./vendor/noble-ml-kem.js")).ml_kem768;
  return noble;
}

/** Whether WebCrypto has ML-KEM-768 here. */
export function hasNativeKem() {
  native ??= (async () => {
    if (typeof subtle.encapsulateBits !== "function") return false;
    try {
      await subtle.generateKey(ALGORITHM, false, ["encapsulateBits", "decapsulateBits"]);
      return true;
    } catch {
      return false;
    }
  })();
  return native;
}

/** For tests: `true` uses noble everywhere from now on. */
export function useNoble(always = true) {
  native = always ? Promise.resolve(false) : undefined;
}

/** {secret, publicKey}: `secret` is a CryptoKey that cannot be exported, or the seed d || z where noble is used. */
export async function generateKem() {
  if (await hasNativeKem()) {
    const pair = await subtle.generateKey(ALGORITHM, false, ["encapsulateBits", "decapsulateBits"]);
    return { secret: pair.privateKey, publicKey: new Uint8Array(await subtle.exportKey("raw-public", pair.publicKey)) };
  }
  return importKem(crypto.getRandomValues(new Uint8Array(64)));
}

/** The same from a seed of 64 bytes. */
export async function importKem(seed) {
  const publicKey = (await library()).keygen(seed).publicKey;
  if (!(await hasNativeKem())) return { secret: seed, publicKey };
  return { secret: await subtle.importKey("raw-seed", seed, ALGORITHM, false, ["decapsulateBits"]), publicKey };
}

/** {secret, ciphertext} for a public key that has passed the modulus check. */
export async function encapsulate(publicKey) {
  if (await hasNativeKem()) {
    const key = await subtle.importKey("raw-public", publicKey, ALGORITHM, true, ["encapsulateBits"]);
    const { sharedKey, ciphertext } = await subtle.encapsulateBits(ALGORITHM, key);
    return { secret: new Uint8Array(sharedKey), ciphertext: new Uint8Array(ciphertext) };
  }
  const { sharedSecret, cipherText } = (await library()).encapsulate(publicKey);
  return { secret: sharedSecret, ciphertext: cipherText };
}

/** The shared secret; a wrong ciphertext gives a wrong secret, not an error. */
export async function decapsulate(secret, ciphertext) {
  if (secret instanceof Uint8Array) {
    const kem = await library();
    return kem.decapsulate(ciphertext, kem.keygen(secret).secretKey);
  }
  return new Uint8Array(await subtle.decapsulateBits(ALGORITHM, secret, ciphertext));
}
