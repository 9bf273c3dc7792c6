// Sender keys and group sessions. See core/sender_keys.py and core/groups.py.

import { ownIdentity } from "./device.js";
import { Reader, checkBytes, concat, copyBytes, fields, hex, lp, name, u32, u64, u8 } from "./encoding.js";
import { GROUP_MESSAGE, MAX_CIPHERTEXT, MAX_MESSAGE, MIN_CIPHERTEXT, SENDER_KEY, pad, unpad } from "./envelope.js";
import { DuplicateMessage, InvalidMessage, NoSession, NotAMember, RotationNeeded } from "./errors.js";
import { ED25519, TYPED_SIZE, checkEd25519, decodeKey, encodeKey } from "./keys.js";
import {
  MAX_SENDER_KEYS,
  MAX_STORED_KEYS,
  SENDER_KEY_AGE,
  SENDER_KEY_MESSAGES,
  SKIPPED_KEY_AGE,
  VERSION,
} from "./limits.js";
import { SIGNATURE_SIZE, hkdf, label, seal, sha256, sign, sources, unseal, verify } from "./primitives.js";
import { kdfChain, skipKeys } from "./ratchet.js";
import { checkVersion } from "./records.js";
import { keepReceived } from "./sessions.js";
import { GROUP_OWN, GROUP_PEER, clock, nextId } from "./tables.js";
import { guarded } from "./throttle.js";
import { checkListed } from "./trust.js";

const GROUP_LABEL = label("sender key");
const GROUP_SIGNATURE_LABEL = label("group message");
const ID_SIZE = 16;
const HEADER_SIZE = 22;

const groupSecret = (key) => hkdf(key, { salt: new Uint8Array(32), info: GROUP_LABEL, length: 44 });
const associated = (group, sender, header) => fields(GROUP_LABEL, name(group), sender.toBytes(), header);
const signed = (group, sender, unsigned) => fields(GROUP_SIGNATURE_LABEL, name(group), sender.toBytes(), unsigned);

/** A sender key on its way to another device. As secret as the messages. */
export class Distribution {
  constructor({ group, id, epoch, iteration, chain, signingKey }) {
    Object.assign(this, { group, id, epoch, iteration, chain, signingKey });
    Object.freeze(this);
  }

  toBytes() {
    return concat(
      u8(VERSION),
      u8(SENDER_KEY),
      lp(name(this.group)),
      this.id,
      u64(this.epoch),
      u32(this.iteration),
      this.chain,
      encodeKey(ED25519, this.signingKey),
    );
  }

  static fromBytes(data) {
    const reader = new Reader(data);
    checkVersion(reader.u8());
    if (reader.u8() !== SENDER_KEY) throw new InvalidMessage("not a sender key");
    const distribution = new Distribution({
      group: reader.name(),
      id: reader.take(ID_SIZE),
      epoch: reader.u64(),
      iteration: reader.counter(),
      chain: reader.take(32),
      signingKey: decodeKey(ED25519, reader.take(TYPED_SIZE)),
    });
    reader.end();
    return distribution;
  }
}

function parse(data) {
  const reader = new Reader(data);
  checkVersion(reader.u8());
  if (reader.u8() !== GROUP_MESSAGE) throw new InvalidMessage("not a group message");
  const id = reader.take(ID_SIZE);
  const iteration = reader.counter();
  const header = checkBytes(data).slice(0, HEADER_SIZE);
  const rest = reader.rest();
  const ciphertext = rest.slice(0, Math.max(rest.length - SIGNATURE_SIZE, 0));
  if (ciphertext.length < MIN_CIPHERTEXT || ciphertext.length > MAX_CIPHERTEXT) {
    throw new InvalidMessage("the ciphertext is too short or too long");
  }
  return { id, iteration, header, ciphertext, signature: rest.slice(-SIGNATURE_SIZE) };
}

/** Drops keys of more than 30 days from a map of skipped keys; whether there were any. */
export function dropOldGroupKeys(skipped, now) {
  const before = skipped.size;
  for (const [iteration, { at }] of skipped) if (at + SKIPPED_KEY_AGE < now) skipped.delete(iteration);
  return skipped.size < before;
}

/** The received chain after a message, and its padded plaintext. */
async function openWith(key, group, sender, message, now) {
  const { iteration, header, ciphertext, signature } = message;
  await verify(key.signingKey, signature, signed(group, sender, concat(header, ciphertext)));
  const skipped = new Map(key.skipped);
  let next = key;
  let messageKey;
  if (iteration < key.iteration) {
    const stored = skipped.get(iteration);
    if (!stored || stored.at + SKIPPED_KEY_AGE < now) {
      throw new DuplicateMessage("the message was decrypted before, or its key is gone");
    }
    messageKey = stored.key;
    skipped.delete(iteration);
  } else {
    const [before, passed] = await skipKeys(key.chain, iteration - key.iteration);
    const [chain, found] = await kdfChain(before);
    messageKey = found;
    passed.forEach((kept, index) => skipped.set(key.iteration + index, { key: kept, at: now }));
    for (const oldest of [...skipped.keys()].slice(0, -MAX_STORED_KEYS)) skipped.delete(oldest);
    next = { ...key, chain, iteration: iteration + 1 };
  }
  dropOldGroupKeys(skipped, now);
  const padded = await unseal(await groupSecret(messageKey), ciphertext, associated(group, sender, header));
  return { key: { ...next, skipped }, padded };
}

/** One group, in one device's store. `log` is the MembershipLog as far as this device has accepted it. */
export class GroupSession {
  #store;

  constructor(store, log) {
    this.#store = store;
    this.log = log;
  }

  get #key() {
    return hex(lp(name(this.log.group)));
  }

  /** A new sender key: send the Distribution pairwise to every device of every member before the next `encrypt`. */
  rotate({ now } = {}) {
    return this.#store.transaction(async (tx) => {
      this.#checkMember((await ownIdentity(tx)).record.address);
      const [id, chain] = [sources.randomBytes(ID_SIZE), sources.randomBytes(32)];
      const { privateKey, publicKey } = await sources.ed25519();
      const { epoch, lastRemoval: removal } = this.log;
      const key = { id, epoch, removal, created: clock(now), iteration: 0, chain, privateKey, publicKey };
      tx.put(GROUP_OWN, this.#key, key);
      return this.#distribution(key);
    });
  }

  /** The current key from its next message on, for a device that joins now. */
  distribution({ now } = {}) {
    return this.#store.transaction(async (tx) => this.#distribution(await this.#own(tx, clock(now))));
  }

  #distribution({ id, epoch, iteration, chain, publicKey }) {
    return new Distribution({ group: this.log.group, id, epoch, iteration, chain, signingKey: publicKey });
  }

  /** One message for all. Throws RotationNeeded (call `rotate` first) or NotAMember. */
  async encrypt(plaintext, { now } = {}) {
    const padded = pad(plaintext);
    return this.#store.transaction(async (tx) => {
      const sender = (await ownIdentity(tx)).record.address;
      this.#checkMember(sender);
      const key = await this.#own(tx, clock(now));
      const [chain, messageKey] = await kdfChain(key.chain);
      const header = concat(u8(VERSION), u8(GROUP_MESSAGE), key.id, u32(key.iteration));
      const { group } = this.log;
      const sealed = await seal(await groupSecret(messageKey), padded, associated(group, sender, header));
      const unsigned = concat(header, sealed);
      const signature = await sign(key.privateKey, signed(group, sender, unsigned));
      tx.put(GROUP_OWN, this.#key, { ...key, chain, iteration: key.iteration + 1 });
      return concat(unsigned, signature);
    });
  }

  /** Accepts a sender key that came over the pairwise session with `sender`; a known one is left as it is. */
  async receiveKey(sender, distribution) {
    if (distribution.group !== this.log.group) throw new InvalidMessage("the sender key is for another group");
    this.#checkMember(sender);
    checkEd25519(distribution.signingKey);
    const prefix = this.#key + sender.key;
    await this.#store.transaction(async (tx) => {
      await checkListed(tx, sender);
      const row = prefix + hex(distribution.id);
      if ((await tx.get(GROUP_PEER, row)) !== undefined) return;
      const { epoch, iteration, chain, signingKey } = distribution;
      const order = await nextId(tx, GROUP_PEER);
      tx.put(GROUP_PEER, row, { order, epoch, iteration, chain, signingKey, skipped: new Map() });
      const newest = (await tx.scan(GROUP_PEER, prefix)).sort(([, one], [, other]) => other.order - one.order);
      for (const [old] of newest.slice(MAX_SENDER_KEYS)) tx.delete(GROUP_PEER, old);
    });
  }

  /** Decrypts a group message that the transport says is from `sender`. `sessionId` is the distribution id. */
  async decrypt(sender, message, { now } = {}) {
    const moment = clock(now);
    const bytes = copyBytes(message, MAX_MESSAGE + 1);
    return this.#store.transaction((tx) =>
      guarded(this.#store, sender, moment, async () => {
        const parsed = parse(bytes);
        this.#checkMember(sender);
        const row = this.#key + sender.key + hex(parsed.id);
        const stored = await tx.get(GROUP_PEER, row);
        if (stored === undefined) throw new NoSession("the sender key is not known");
        const { key, padded } = await openWith(stored, this.log.group, sender, parsed, moment);
        const plaintext = unpad(padded);
        tx.put(GROUP_PEER, row, key);
        return keepReceived(tx, { id: await sha256(bytes), address: sender, sessionId: parsed.id, plaintext });
      }),
    );
  }

  async #own(tx, now) {
    const key = await tx.get(GROUP_OWN, this.#key);
    if (key === undefined) throw new RotationNeeded("there is no sender key for the group yet");
    if (key.removal !== this.log.lastRemoval) {
      throw new RotationNeeded("a member was removed since the key was handed out");
    }
    if (key.iteration >= SENDER_KEY_MESSAGES || now >= key.created + SENDER_KEY_AGE) {
      throw new RotationNeeded("the key has sent too much, or is too old");
    }
    return key;
  }

  #checkMember(address) {
    if (!this.log.members.has(address.user)) throw new NotAMember("not a member of the group");
  }
}
