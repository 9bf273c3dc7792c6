// The Double Ratchet. See core/ratchet.py. A state is a plain object that is never changed: every step gives a new one,
// so a failure leaves the old one as it was.

import { concat, fields, hex } from "./encoding.js";
import { FIRST_MESSAGE, MESSAGE, packHeader, pad, unpad } from "./envelope.js";
import { DuplicateMessage, NoSession, TooManySkipped } from "./errors.js";
import { MAX_COUNTER, MAX_PAST_CHAINS, MAX_SKIP, MAX_STORED_KEYS, SKIPPED_KEY_AGE } from "./limits.js";
import { hkdf, hmacs, label, seal, sources, unseal, x25519 } from "./primitives.js";

const ROOT_LABEL = label("root");
const MESSAGE_LABEL = label("message");
const ONE = Uint8Array.of(1);
const TWO = Uint8Array.of(2);
const ZERO_SALT = new Uint8Array(32);
const NOTHING = new Uint8Array();

/** KDF_RK: [root key, chain key]. */
export async function kdfRoot(root, dh) {
  const output = await hkdf(dh, { salt: root, info: ROOT_LABEL, length: 64 });
  return [output.slice(0, 32), output.slice(32)];
}

/** KDF_CK: [chain key, message key]. */
export async function kdfChain(chain) {
  const [messageKey, next] = await hmacs(chain, ONE, TWO);
  return [next, messageKey];
}

/** The AES-256-GCM key and nonce of one message, 44 bytes. */
export function messageSecret(messageKey) {
  return hkdf(messageKey, { salt: ZERO_SALT, info: MESSAGE_LABEL, length: 44 });
}

const associated = (state, prefix) => fields(MESSAGE_LABEL, state.transcript, prefix);
const skippedName = (ratchetKey, number) => `${hex(ratchetKey)}/${number}`;

function initial(agreement, pair) {
  return {
    sessionId: agreement.sessionId,
    transcript: agreement.transcript,
    root: agreement.secret,
    ownPrivate: pair.privateKey,
    ownPublic: pair.publicKey,
    theirPublic: null,
    sending: null,
    receiving: null,
    sent: 0,
    received: 0,
    previous: 0,
    previousPublic: new Uint8Array(32),
    block: NOTHING,
    initiated: 0,
    skipped: new Map(),
    past: [],
  };
}

/** RatchetInitAlice: `signedPrekey` is the responder's public one. */
export async function forInitiator(agreement, signedPrekey, now) {
  const pair = await sources.x25519();
  const [root, sending] = await kdfRoot(agreement.secret, await x25519(pair.privateKey, signedPrekey));
  const block = agreement.block.toBytes();
  return { ...initial(agreement, pair), root, sending, theirPublic: signedPrekey, block, initiated: now };
}

/** RatchetInitBob: the first ratchet key pair is the signed prekey. */
export function forResponder(agreement, signedPrekey) {
  return initial(agreement, signedPrekey);
}

/** We initiated, and nothing has come back: first messages are still sent. */
export const isPending = (state) => state.block.length > 0;

/** RatchetEncrypt: {state, message}. Persist the state before the message leaves. */
export async function ratchetEncrypt(state, plaintext) {
  const padded = pad(plaintext);
  if (state.sending === null || state.sent >= MAX_COUNTER) throw new NoSession("the session cannot send");
  const [sending, messageKey] = await kdfChain(state.sending);
  const header = packHeader({
    kind: isPending(state) ? FIRST_MESSAGE : MESSAGE,
    sessionId: state.sessionId,
    ratchetKey: state.ownPublic,
    previous: state.previous,
    number: state.sent,
  });
  const prefix = concat(header, state.block);
  const ciphertext = await seal(await messageSecret(messageKey), padded, associated(state, prefix));
  return { state: { ...state, sending, sent: state.sent + 1 }, message: concat(prefix, ciphertext) };
}

async function open(state, messageKey, message) {
  return unpad(await unseal(await messageSecret(messageKey), message.ciphertext, associated(state, message.prefix)));
}

/** RatchetDecrypt: {state, plaintext, stepped}, the last true when the message brought a new ratchet key. */
export async function ratchetDecrypt(state, message, now) {
  const { ratchetKey, number } = message.header;
  const stored = state.skipped.get(skippedName(ratchetKey, number));
  if (stored && stored.at + SKIPPED_KEY_AGE >= now) {
    const plaintext = await open(state, stored.key, message);
    const skipped = new Map(state.skipped);
    skipped.delete(skippedName(ratchetKey, number));
    return { state: { ...state, skipped, block: NOTHING }, plaintext, stepped: false };
  }
  if (state.receiving !== null && hex(ratchetKey) === hex(state.theirPublic)) {
    return continueChain(state, message, now);
  }
  return newChain(state, message, now);
}

async function continueChain(state, message, now) {
  const { ratchetKey, number } = message.header;
  if (number < state.received) throw new DuplicateMessage("the message was decrypted before, or its key is gone");
  const [before, passed] = await skipKeys(state.receiving, number - state.received);
  const [receiving, messageKey] = await kdfChain(before);
  const plaintext = await open(state, messageKey, message);
  const skipped = keep(state.skipped, [[ratchetKey, state.received, passed]], now);
  return { state: { ...state, skipped, receiving, received: number + 1, block: NOTHING }, plaintext, stepped: false };
}

async function newChain(state, message, now) {
  const { ratchetKey, number, previous } = message.header;
  if (state.past.includes(hex(ratchetKey))) throw new DuplicateMessage("its chain has ended, and its key is gone");
  const missed = state.receiving === null ? 0 : Math.max(previous - state.received, 0);
  if (missed > MAX_SKIP) throw new TooManySkipped("the message skips too many keys of the chain before it");
  const [ownRoot, chain] = await kdfRoot(state.root, await x25519(state.ownPrivate, ratchetKey));
  const [before, passed] = await skipKeys(chain, number);
  const [receiving, messageKey] = await kdfChain(before);
  const plaintext = await open(state, messageKey, message);

  const runs = [];
  let past = state.past;
  if (state.receiving !== null) {
    runs.push([state.theirPublic, state.received, (await skipKeys(state.receiving, missed))[1]]);
    past = [...past, hex(state.theirPublic)].slice(-MAX_PAST_CHAINS);
  }
  runs.push([ratchetKey, 0, passed]);
  const pair = await sources.x25519();
  const [root, sending] = await kdfRoot(ownRoot, await x25519(pair.privateKey, ratchetKey));
  return {
    state: {
      ...state,
      root,
      sending,
      receiving,
      past,
      skipped: keep(state.skipped, runs, now),
      ownPrivate: pair.privateKey,
      ownPublic: pair.publicKey,
      previousPublic: state.ownPublic,
      previous: state.sent,
      sent: 0,
      received: number + 1,
      theirPublic: ratchetKey,
      block: NOTHING,
    },
    plaintext,
    stepped: true,
  };
}

/** SkipMessageKeys: [chain key after `count` steps, the message keys of those steps]. */
export async function skipKeys(chain, count) {
  if (count > MAX_SKIP) throw new TooManySkipped(`the message skips ${count} keys, allowed are ${MAX_SKIP}`);
  const messageKeys = [];
  for (let step = 0; step < count; step++) {
    const [next, messageKey] = await kdfChain(chain);
    messageKeys.push(messageKey);
    chain = next;
  }
  return [chain, messageKeys];
}

/** A new map with the skipped keys added; the oldest go when there are too many, or when they are too old. */
function keep(skipped, runs, now) {
  if (runs.every(([, , keys]) => keys.length === 0) && skipped.size === 0) return skipped;
  const kept = new Map(skipped);
  for (const [ratchetKey, first, keys] of runs) {
    keys.forEach((key, index) => kept.set(skippedName(ratchetKey, first + index), { key, at: now }));
  }
  dropOld(kept, now);
  return kept;
}

/** Drops keys above 2,000, oldest first, and those of more than 30 days; whether there were any. */
export function dropOld(skipped, now) {
  const before = skipped.size;
  for (const [oldest, { at }] of skipped) {
    if (skipped.size <= MAX_STORED_KEYS && at + SKIPPED_KEY_AGE >= now) break;
    skipped.delete(oldest);
  }
  return skipped.size < before;
}
