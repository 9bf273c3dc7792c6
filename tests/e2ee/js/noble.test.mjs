// noble's primitives against those the core uses, on random inputs. Skipped unless `npm ci --prefix tests/e2ee/js` ran,
// which `python -m tests.support.install_npm_packages` does.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";

const BASE = "../../../mana_e2ee/static/mana_e2ee/";
const [primitives, kem, keys, encoding] = await Promise.all(
  ["primitives", "kem", "keys", "encoding"].map((name) => import(`${BASE}${name}.js`)),
);
const noble = await Promise.all([
  import("@noble/curves/ed25519.js"),
  import("@noble/ciphers/aes.js"),
  import("@noble/hashes/hkdf.js"),
  import("@noble/hashes/hmac.js"),
  import("@noble/hashes/sha2.js"),
  import("@noble/post-quantum/ml-kem.js"),
]).catch(() => null);

const options = { skip: noble === null && "npm ci --prefix tests/e2ee/js was not run" };
const [curves, aes, hkdfs, hmacs, sha2, mlkem] = noble ?? [];
const ROUNDS = 100;
const bytes = (length) => new Uint8Array(randomBytes(length));
const some = () => bytes(Math.floor(Math.random() * 200));

async function rounds(work) {
  for (let round = 0; round < ROUNDS; round++) await work();
}

test("X25519", options, () =>
  rounds(async () => {
    const [ours, theirs] = [bytes(32), bytes(32)];
    const pair = await primitives.importPair("X25519", ours);
    assert.deepEqual(pair.publicKey, curves.x25519.getPublicKey(ours));
    const other = curves.x25519.getPublicKey(theirs);
    assert.deepEqual(await primitives.x25519(pair.privateKey, other), curves.x25519.getSharedSecret(ours, other));
  }));

test("Ed25519", options, () =>
  rounds(async () => {
    const [seed, message] = [bytes(32), some()];
    const pair = await primitives.importPair("Ed25519", seed);
    const signature = await primitives.sign(pair.privateKey, message);
    assert.deepEqual(signature, curves.ed25519.sign(message, seed));
    assert.ok(curves.ed25519.verify(signature, message, pair.publicKey));
    await primitives.verify(keys.checkEd25519(pair.publicKey), curves.ed25519.sign(message, seed), message);
  }));

test("AES-256-GCM, HKDF, HMAC and SHA-2", options, () =>
  rounds(async () => {
    const [secret, plaintext, data] = [bytes(44), some(), some()];
    const sealed = await primitives.seal(secret, plaintext, data);
    const cipher = () => aes.gcm(secret.slice(0, 32), secret.slice(32), data);
    assert.deepEqual(sealed, cipher().encrypt(plaintext));
    assert.deepEqual(await primitives.unseal(secret, cipher().encrypt(plaintext), data), plaintext);
    const [salt, info] = [bytes(32), some()];
    assert.deepEqual(
      await primitives.hkdf(secret, { salt, info, length: 64 }),
      hkdfs.hkdf(sha2.sha256, secret, salt, info, 64),
    );
    assert.deepEqual((await primitives.hmacs(salt, data))[0], hmacs.hmac(sha2.sha256, salt, data));
    assert.deepEqual(await primitives.sha256(data), sha2.sha256(data));
    assert.deepEqual(await primitives.sha512(data), sha2.sha512(data));
  }));

test("ML-KEM-768, and the vendored copy is the one from the registry", options, () =>
  rounds(async () => {
    const seed = bytes(64);
    const theirs = mlkem.ml_kem768.keygen(seed);
    const ours = await kem.importKem(seed);
    assert.deepEqual(ours.publicKey, theirs.publicKey);
    const { cipherText, sharedSecret } = mlkem.ml_kem768.encapsulate(theirs.publicKey);
    assert.deepEqual(await kem.decapsulate(ours.secret, cipherText), sharedSecret);
    const { secret, ciphertext } = await kem.encapsulate(theirs.publicKey);
    assert.deepEqual(mlkem.ml_kem768.decapsulate(ciphertext, theirs.secretKey), secret);
    assert.ok(encoding.equal(keys.decodeKey(keys.MLKEM768, keys.encodeKey(keys.MLKEM768, ours.publicKey)), ours.publicKey));
  }));
