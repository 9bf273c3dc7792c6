// A device's own identity and prekeys: made once, published, rotated, refilled. See core/device.py.

import { UnknownPreKey } from "./errors.js";
import { sweep } from "./expiry.js";
import { MAX_ONE_TIME_KEPT, OLD_PREKEY_AGE, ONE_TIME_LOW, ONE_TIME_TARGET, SIGNED_PREKEY_AGE } from "./limits.js";
import { sign, sources } from "./primitives.js";
import { DeviceRecord, KemPreKey, OneTimePreKey, Publication, SUITES, SUITE_PQXDH, SignedPreKey } from "./records.js";
import { DEVICE, HANDSHAKE, KEM_PREKEY, ONE_TIME, SIGNED_PREKEY, clock, idKey, nextId } from "./tables.js";

/** {record, signingKey, dhKey} of the device that lives in the store. */
export async function ownIdentity(tx) {
  const stored = await tx.get(DEVICE, "");
  if (stored === undefined) throw new Error("the store holds no device: call Device.generate first");
  return { ...stored, record: DeviceRecord.fromBytes(stored.record) };
}

export class Device {
  #store;

  constructor(store, record) {
    this.#store = store;
    this.record = record;
  }

  get address() {
    return this.record.address;
  }

  /** Makes identity keys that cannot be exported, and the first prekeys. Throws when the store has a device. */
  static async generate(store, address, { suites = SUITES, now } = {}) {
    if (suites.length === 0 || suites.some((suite) => !SUITES.includes(suite))) throw new RangeError("unknown suites");
    const moment = clock(now);
    const signing = await sources.ed25519();
    const dh = await sources.x25519();
    const unsigned = new DeviceRecord({
      address,
      signingKey: signing.publicKey,
      dhKey: dh.publicKey,
      suites: [...new Set(suites)].sort((one, other) => one - other),
      created: moment,
    });
    const record = await unsigned.signedWith(signing.privateKey);
    return store.transaction(async (tx) => {
      if ((await tx.get(DEVICE, "")) !== undefined) throw new Error("the store already holds a device");
      tx.put(DEVICE, "", { record: record.toBytes(), signingKey: signing.privateKey, dhKey: dh.privateKey });
      await newPrekeys(tx, record, moment);
      return new Device(store, record);
    });
  }

  static load(store) {
    return store.transaction(async (tx) => new Device(store, (await ownIdentity(tx)).record));
  }

  /** The record, the current prekeys and `oneTime` new one-time prekeys. */
  publishBundle({ oneTime = ONE_TIME_TARGET } = {}) {
    return this.#store.transaction(async (tx) => publication(tx, await newOneTime(tx, oneTime)));
  }

  /** New one-time prekeys up to 100, when the directory has fewer than 25 left; else none. */
  async refill(remaining) {
    if (remaining >= ONE_TIME_LOW) return [];
    // The directory says how many are left: whatever it says, no more than 100 are made.
    return this.#store.transaction((tx) => newOneTime(tx, ONE_TIME_TARGET - Math.max(remaining, 0)));
  }

  /** Call daily: forgets what is too old. The Publication to upload, or null when no prekey was due. */
  rotate({ force = false, now } = {}) {
    const moment = clock(now);
    return this.#store.transaction(async (tx) => {
      await forgetOld(tx, moment);
      await sweep(tx, moment);
      const [, { created }] = await current(tx, SIGNED_PREKEY);
      if (!force && moment < created + SIGNED_PREKEY_AGE) return null;
      await newPrekeys(tx, this.record, moment);
      return publication(tx, []);
    });
  }
}

async function publication(tx, oneTime) {
  const { record, signingKey } = await ownIdentity(tx);
  const signedKey = async (table, Kind) => {
    const [id, { publicKey }] = await current(tx, table);
    return new Kind(id, publicKey, await sign(signingKey, Kind.covered(record.address, id, publicKey)));
  };
  const signedPrekey = await signedKey(SIGNED_PREKEY, SignedPreKey);
  const kemPrekey = record.suites.includes(SUITE_PQXDH) ? await signedKey(KEM_PREKEY, KemPreKey) : null;
  return new Publication(record, signedPrekey, kemPrekey, oneTime);
}

async function newPrekeys(tx, record, now) {
  const kinds = [[SIGNED_PREKEY, sources.x25519]];
  if (record.suites.includes(SUITE_PQXDH)) kinds.push([KEM_PREKEY, sources.kem]);
  for (const [table, make] of kinds) {
    for (const [key, row] of await tx.scan(table)) {
      if (row.replaced === 0) tx.put(table, key, { ...row, replaced: now });
    }
    tx.put(table, idKey(await nextId(tx, table)), { ...(await make()), created: now, replaced: 0 });
  }
}

async function current(tx, table) {
  const [key, row] = (await tx.scan(table)).at(-1);
  return [parseInt(key, 16), row];
}

async function forgetOld(tx, now) {
  for (const table of [SIGNED_PREKEY, KEM_PREKEY]) {
    for (const [key, { replaced }] of await tx.scan(table)) {
      if (replaced === 0 || replaced + OLD_PREKEY_AGE > now) continue;
      tx.delete(table, key);
      if (table !== SIGNED_PREKEY) continue;
      for (const [sessionId, used] of await tx.scan(HANDSHAKE)) {
        if (idKey(used) === key) tx.delete(HANDSHAKE, sessionId);
      }
    }
  }
}

async function newOneTime(tx, count) {
  const made = [];
  for (let index = 0; index < count; index++) {
    const pair = await sources.x25519();
    const id = await nextId(tx, ONE_TIME);
    tx.put(ONE_TIME, idKey(id), pair);
    made.push(new OneTimePreKey(id, pair.publicKey));
  }
  for (const [key] of (await tx.scan(ONE_TIME)).slice(0, -MAX_ONE_TIME_KEPT)) tx.delete(ONE_TIME, key);
  return made;
}

/** The private parts that a first message names; an id of 0 means none. Throws UnknownPreKey. */
export async function responderKeys(tx, own, block) {
  const find = async (table, id) => {
    const row = await tx.get(table, idKey(id));
    if (row === undefined) throw new UnknownPreKey(`there is no ${table} with the id ${id}`);
    return row;
  };
  return {
    dhKey: own.dhKey,
    signedPrekey: await find(SIGNED_PREKEY, block.signedPrekeyId),
    oneTime: block.oneTimeId ? await find(ONE_TIME, block.oneTimeId) : null,
    kem: block.kemId ? await find(KEM_PREKEY, block.kemId) : null,
  };
}

