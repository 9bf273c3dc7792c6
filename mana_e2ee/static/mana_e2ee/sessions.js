// Sessions between two devices. See core/sessions.py: every function is one transaction.

import { ownIdentity, responderKeys } from "./device.js";
import { compare, copyBytes, equal, hex } from "./encoding.js";
import { MAX_MESSAGE, parse } from "./envelope.js";
import { DuplicateMessage, InvalidMessage, NoSession, UntrustedIdentity } from "./errors.js";
import { initiate, respond } from "./handshake.js";
import { ARCHIVE_AGE, MAX_ARCHIVED, MAX_PLAINTEXT, PENDING_AGE } from "./limits.js";
import { sha256 } from "./primitives.js";
import { forInitiator, forResponder, isPending, ratchetDecrypt, ratchetEncrypt } from "./ratchet.js";
import { Address } from "./records.js";
import { ACTIVE, ARCHIVED, HANDSHAKE, INBOX, ONE_TIME, SESSION, clock, idKey } from "./tables.js";
import { guarded } from "./throttle.js";
import { checkTrust, pin } from "./trust.js";

const sessionKey = (address, sessionId) => address.key + hex(sessionId);

/** Starts a session with `address`, which is then the one sent on; gives its id. */
export function processPrekeyBundle(store, address, bundle, { now } = {}) {
  const moment = clock(now);
  return store.transaction(async (tx) => {
    const own = await ownIdentity(tx);
    if (!bundle.record.address.equals(address)) throw new UntrustedIdentity("the bundle is of another address");
    await checkTrust(tx, bundle.record);
    const agreement = await initiate(own.record, own.dhKey, bundle);
    const state = await forInitiator(agreement, bundle.signedPrekey.publicKey, moment);
    pin(tx, bundle.record);
    save(tx, address, state);
    await activate(tx, address, state.sessionId, moment);
    return state.sessionId;
  });
}

/** The message to send. Throws NoSession (claim a bundle first), or InvalidMessage above 65,535 bytes. */
export async function encrypt(store, address, plaintext, options) {
  return (await encryptMany(store, [address], plaintext, options))[0];
}

/** One message for each address, in their order and in one transaction: a fan-out waits for the disk once. */
export async function encryptMany(store, addresses, plaintext, { now } = {}) {
  const moment = clock(now);
  const [recipients, bytes] = [[...addresses], copyBytes(plaintext, MAX_PLAINTEXT + 1)];
  return store.transaction(async (tx) => {
    const messages = [];
    for (const address of recipients) {
      const before = await activeSession(tx, address);
      if (!before || !maySend(before, moment)) throw new NoSession("there is no session to send on");
      const { state, message } = await ratchetEncrypt(before, bytes);
      save(tx, address, state);
      messages.push(message);
    }
    return messages;
  });
}

/** Whether `encrypt` would find a session. */
export function hasSession(store, address, { now } = {}) {
  return store.transaction(async (tx) => {
    const state = await activeSession(tx, address);
    return Boolean(state) && maySend(state, clock(now));
  });
}

/** Decrypts a message that the transport says is from `address`: {id, address, sessionId, plaintext}. */
export async function decrypt(store, address, message, { now } = {}) {
  const moment = clock(now);
  const bytes = copyBytes(message, MAX_MESSAGE + 1);
  return store.transaction((tx) =>
    guarded(store, address, moment, async () => {
      const parsed = parse(address, bytes);
      const { sessionId } = parsed.header;
      const plaintext = await decryptParsed(tx, address, parsed, moment);
      return keepReceived(tx, { id: await sha256(bytes), address, sessionId, plaintext });
    }),
  );
}

/** Puts a plaintext into the inbox, in the transaction that advanced the state. */
export function keepReceived(tx, received) {
  const { user, device } = received.address;
  tx.put(INBOX, hex(received.id), { ...received, plaintext: received.plaintext.slice(), address: { user, device } });
  return received;
}

/** Messages that were decrypted but not forgotten: what a crash left behind. */
export function pending(store) {
  return store.transaction(async (tx) =>
    (await tx.scan(INBOX)).map(([, row]) => ({ ...row, address: new Address(row.address.user, row.address.device) })),
  );
}

/** The application has the plaintext: drops it from the store. */
export const forget = (store, received) => store.transaction(async (tx) => tx.delete(INBOX, hex(received.id)));

async function decryptParsed(tx, address, message, now) {
  const { sessionId } = message.header;
  const before = await findSession(tx, address, sessionId, now);
  if (!before) return accept(tx, address, message, now);
  const { state, plaintext, stepped } = await ratchetDecrypt(before, message, now);
  save(tx, address, state);
  const active = await tx.get(ACTIVE, address.key);
  if (stepped && !(active && equal(active, sessionId))) await activate(tx, address, sessionId, now);
  return plaintext;
}

async function accept(tx, address, message, now) {
  const { block } = message;
  const { sessionId } = message.header;
  if (block === null) throw new NoSession("there is no such session");
  if ((await tx.get(HANDSHAKE, hex(sessionId))) !== undefined) {
    throw new DuplicateMessage("the handshake was accepted before, and its session is gone");
  }
  const own = await ownIdentity(tx);
  await checkTrust(tx, block.record);
  const privateKeys = await responderKeys(tx, own, block);
  const agreement = await respond(own.record, privateKeys, block);
  if (!equal(agreement.sessionId, sessionId)) {
    throw new InvalidMessage("the first message names another session than its handshake gives");
  }
  const { state, plaintext } = await ratchetDecrypt(forResponder(agreement, privateKeys.signedPrekey), message, now);

  const active = await activeSession(tx, address);
  pin(tx, block.record);
  tx.put(HANDSHAKE, hex(sessionId), block.signedPrekeyId);
  if (block.oneTimeId) tx.delete(ONE_TIME, idKey(block.oneTimeId));
  save(tx, address, state);
  if (active && maySend(active, now) && isPending(active) && compare(active.sessionId, sessionId) < 0) {
    // Both sides started at once: the lower session id wins, on both sides.
    await archive(tx, address, sessionId, now);
  } else {
    await activate(tx, address, sessionId, now);
  }
  return plaintext;
}

async function activeSession(tx, address) {
  const sessionId = await tx.get(ACTIVE, address.key);
  return sessionId && tx.get(SESSION, sessionKey(address, sessionId));
}

/** The active session or an archived one of at most 30 days. */
export async function findSession(tx, address, sessionId, now) {
  const since = await tx.get(ARCHIVED, sessionKey(address, sessionId));
  if (since !== undefined && since + ARCHIVE_AGE < now) return undefined;
  return tx.get(SESSION, sessionKey(address, sessionId));
}

const maySend = (state, now) => !isPending(state) || state.initiated + PENDING_AGE >= now;

const save = (tx, address, state) => tx.put(SESSION, sessionKey(address, state.sessionId), state);

async function activate(tx, address, sessionId, now) {
  const before = await tx.get(ACTIVE, address.key);
  tx.delete(ARCHIVED, sessionKey(address, sessionId));
  tx.put(ACTIVE, address.key, sessionId);
  if (before && !equal(before, sessionId)) await archive(tx, address, before, now);
}

async function archive(tx, address, sessionId, now) {
  tx.put(ARCHIVED, sessionKey(address, sessionId), now);
  const archived = (await tx.scan(ARCHIVED, address.key)).reverse().sort(([, one], [, other]) => other - one);
  archived.forEach(([key, since], place) => {
    if (place < MAX_ARCHIVED && since + ARCHIVE_AGE >= now) return;
    tx.delete(ARCHIVED, key);
    tx.delete(SESSION, key);
  });
}
