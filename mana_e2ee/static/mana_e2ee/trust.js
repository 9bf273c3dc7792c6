// Which identity is trusted for an address. See core/trust.py.

import { ownIdentity } from "./device.js";
import { DeviceList } from "./device_list.js";
import { Reader, equal, hex, lp, name, unhex } from "./encoding.js";
import { DowngradeRefused, StaleDeviceList, UntrustedIdentity } from "./errors.js";
import { Address, DeviceRecord } from "./records.js";
import { ACTIVE, ARCHIVED, DEVICE_LIST, GROUP_OWN, GROUP_PEER, IDENTITY, SESSION } from "./tables.js";

const userKey = (user) => hex(lp(name(user)));

/** Throws UntrustedIdentity or DowngradeRefused. The handshake checks the record's own signature. */
export async function checkTrust(tx, record) {
  const { address } = record;
  if (address.equals((await ownIdentity(tx)).record.address)) {
    throw new UntrustedIdentity("this is the device's own address");
  }
  const known = await pinned(tx, address);
  if (known && !equal(known.identity(), record.identity())) {
    throw new UntrustedIdentity(`the identity keys of ${address.user}/${address.device} have changed`);
  }
  if (known && record.created < known.created) {
    throw new DowngradeRefused("an older device record than the one known");
  }
  const listed = await currentList(tx, address.user);
  if (listed && !listed.devices.some((device) => device.sameAs(record))) {
    throw new UntrustedIdentity(`${address.user}/${address.device} is not in its user's device list`);
  }
}

export async function pinned(tx, address) {
  const stored = await tx.get(IDENTITY, address.key);
  return stored && DeviceRecord.fromBytes(stored);
}

export const pin = (tx, record) => tx.put(IDENTITY, record.address.key, record.toBytes());

/** Throws UntrustedIdentity when the user's device list is known and has no such device. */
export async function checkListed(tx, address) {
  const listed = await currentList(tx, address.user);
  if (listed && !listed.devices.some((device) => device.address.equals(address))) {
    throw new UntrustedIdentity(`${address.user}/${address.device} is not in its user's device list`);
  }
}

/** Drops the identity, sessions and sender keys of an address, and our own sender keys, which it may hold. */
export async function forgetAddress(tx, address) {
  tx.delete(IDENTITY, address.key);
  tx.delete(ACTIVE, address.key);
  for (const table of [SESSION, ARCHIVED]) {
    for (const [key] of await tx.scan(table, address.key)) tx.delete(table, key);
  }
  for (const [key] of await tx.scan(GROUP_PEER)) {
    const reader = new Reader(unhex(key));
    reader.name();
    if (Address.read(reader).equals(address)) tx.delete(GROUP_PEER, key);
  }
  for (const [key] of await tx.scan(GROUP_OWN)) tx.delete(GROUP_OWN, key);
}

export async function currentList(tx, user) {
  const stored = await tx.get(DEVICE_LIST, userKey(user));
  return stored && DeviceList.fromBytes(stored);
}

/** The record trusted for an address, or undefined. */
export const identity = (store, address) => store.transaction((tx) => pinned(tx, address));

/** The user has looked and agrees: trusts `record` from now on, and drops sessions with another identity. */
export async function trustIdentity(store, record) {
  await record.verify();
  await store.transaction(async (tx) => {
    const known = await pinned(tx, record.address);
    if (known && !equal(known.identity(), record.identity())) await forgetAddress(tx, record.address);
    pin(tx, record);
  });
}

/** Makes `devices` the list of its user: {added, removed}. `since` are the lists in between, oldest first. */
export function acceptDeviceList(store, devices, { since = [] } = {}) {
  return store.transaction(async (tx) => {
    const known = await currentList(tx, devices.user);
    let latest = known;
    for (const follower of [...since, devices]) {
      await follower.verify();
      if (follower.user !== devices.user) throw new UntrustedIdentity("a list of another user");
      if (latest) await checkFollows(latest, follower);
      latest = follower;
    }
    return replaceList(tx, known, devices);
  });
}

/**
 * The user has compared safety numbers and agrees to the account key of `devices`, which replaces the list of another
 * account key. It takes the list, so that nobody can slip in another one between the user's look and the next list.
 */
export function trustAccount(store, devices) {
  return store.transaction(async (tx) => {
    const known = await currentList(tx, devices.user);
    await devices.verify();
    if (known && equal(known.account, devices.account)) await checkFollows(known, devices);
    return replaceList(tx, known, devices);
  });
}

/** Stores a list that was checked, and forgets the devices that it does not vouch for. */
async function replaceList(tx, known, devices) {
  const before = known?.devices ?? [];
  const trusted = (await tx.scan(IDENTITY, userKey(devices.user))).map(([, row]) => DeviceRecord.fromBytes(row));
  for (const record of trusted) {
    if (missing([record], devices.devices).length > 0) await forgetAddress(tx, record.address);
  }
  tx.put(DEVICE_LIST, userKey(devices.user), devices.toBytes());
  return { added: missing(devices.devices, before), removed: missing(before, devices.devices) };
}

/** Those of `these` that are not in `those` with the same address and keys. */
function missing(these, those) {
  const same = (one, other) => one.address.equals(other.address) && equal(one.identity(), other.identity());
  return these.filter((device) => !those.some((other) => same(device, other)));
}

async function checkFollows(before, after) {
  if (!equal(after.account, before.account)) throw new UntrustedIdentity("the account key has changed");
  if (after.epoch < before.epoch) throw new StaleDeviceList("a rollback");
  const hash = await before.hash();
  if (after.epoch === before.epoch && !equal(await after.hash(), hash)) throw new StaleDeviceList("a fork");
  if (after.epoch === before.epoch + 1 && !equal(after.previous, hash)) throw new StaleDeviceList("a fork");
  if (after.epoch > before.epoch + 1) throw new StaleDeviceList("the lists in between are missing");
}
