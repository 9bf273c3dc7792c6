// Keys: publishing one's own, following the device lists of others, sessions with their devices.

import { AccountKey, DeviceList, PreKeyBundle, acceptDeviceList, hasSession, processPrekeyBundle, trustAccount } from "../e2ee.js";
import { equal } from "../encoding.js";
import { E2EEError, UntrustedIdentity } from "../errors.js";
import { Address } from "../records.js";
import { sources } from "../primitives.js";
import { DEVICE_LIST } from "../tables.js";
import { currentList, forgetAddress } from "../trust.js";
import { b64, contentId, unb64 } from "./contents.js";
import { ClientError } from "./errors.js";
import { ED25519, encodeKey } from "../keys.js";

const DAY = 86_400_000; // ms
const ASKED = 3; // times more that the server is asked for recipients, while they change

/** An account key as text, its type byte first. */
export const typed = (key) => b64(encodeKey(ED25519, key));

/** A publication as the server takes it. */
function upload({ record, signedPrekey, kemPrekey, oneTime }) {
  return {
    record: b64(record.toBytes()),
    signed_prekey: b64(signedPrekey.toBytes()),
    kem_prekey: kemPrekey ? b64(kemPrekey.toBytes()) : null,
    one_time: oneTime.map((key) => b64(key.toBytes())),
  };
}

export class Directory {
  #context;
  #rooms = new Map(); // room id -> recipients, as the server named them last
  #forgotten = 0; // times that rooms were forgotten
  #rotated = 0;

  constructor(context) {
    this.#context = context;
  }

  // One's own keys

  /** Publish, refill and rotate as needed; make the first device list. @returns {Promise<"ready" | "unlinked" | "replaced">} */
  async settle() {
    const { device, vault, address } = this.#context;
    await this.#publish();
    const found = await this.lists(address.user, 0);
    const seed = await vault.get("own", "seed");
    let known = await this.current(address.user);
    if (!found.length && !known) {
      const first = seed ?? sources.randomBytes(32);
      await vault.put("own", "seed", first); // before anybody may know the public key
      await this.#publishList(await DeviceList.create(await AccountKey.fromSeed(first), address.user, [device.record]));
      return "ready";
    }
    if (!known && seed && equal((await AccountKey.fromSeed(seed)).publicKey, found.at(-1).account)) {
      await this.accept(found); // ours: the server has it, and its answer was lost
      known = await this.current(address.user);
    }
    if (!known) return "unlinked";
    if (!found.length) return "replaced"; // the account was started over
    try {
      await this.refresh(address.user);
    } catch (error) {
      if (["account_changed", "list_refused"].includes(error.code)) return "replaced";
      throw error;
    }
    const listed = (await this.current(address.user)).devices;
    if (seed && listed.some((record) => record.sameAs(device.record))) return "ready";
    return seed ? "replaced" : "unlinked"; // removed, or never linked, or that broke off before the account's key was here
  }

  async #publish() {
    const { rest, device, address } = this.#context;
    const path = `e2ee/devices/${encodeURIComponent(address.device)}`;
    // Of all: a browser writes every 404 into its console.
    const status = (await rest.get("e2ee/devices")).find((one) => one.device_id === address.device);
    if (!status) await rest.put(path, upload(await device.publishBundle()));
    else await this.refill(status.one_time_remaining);
    if (Date.now() < this.#rotated + DAY) return;
    const due = await device.rotate();
    const current = due ?? (await device.publishBundle({ oneTime: 0 }));
    // Rotated before, and not uploaded: the page was closed, or the server out of reach.
    if (due || status?.signed_prekey_id < current.signedPrekey.id) await rest.put(path, upload(current));
    this.#rotated = Date.now();
  }

  /** As `refill`, with as many as the server has now: notices come many at a time, and to every tab. */
  async refillNow() {
    const { rest, address } = this.#context;
    const status = (await rest.get("e2ee/devices")).find((one) => one.device_id === address.device);
    if (status) await this.refill(status.one_time_remaining);
  }

  /** Those that were made are uploaded until the server has them: each time others would push out private halves in use. */
  async refill(remaining) {
    const { rest, device, vault, address } = this.#context;
    let keys = await vault.get("own", "one_time");
    if (!keys) {
      keys = (await device.refill(remaining)).map((key) => b64(key.toBytes()));
      if (!keys.length) return;
      await vault.put("own", "one_time", keys);
    }
    const path = `e2ee/devices/${encodeURIComponent(address.device)}/prekeys`;
    await rest.post(path, { one_time: keys }).catch((error) => {
      if (error.status !== 409) throw error; // it has enough, or newer ones
    });
    await vault.delete("own", "one_time");
  }

  async #publishList(list) {
    const { rest, store } = this.#context;
    await rest.put("e2ee/device-list", { device_list: b64(list.toBytes()) });
    await acceptDeviceList(store, list);
    return list;
  }

  /** The user's account key, which this device holds once it is linked. Throws ClientError `not_linked`. */
  async account() {
    const seed = await this.#context.vault.get("own", "seed");
    if (!seed) throw new ClientError("not_linked", "This device is not linked yet.");
    return AccountKey.fromSeed(seed);
  }

  /** Sign and publish the list after the current one. @param {(records: object[]) => object[]} change */
  async publishNext(change) {
    const { user } = this.#context.address;
    await this.refresh(user);
    const before = await this.current(user);
    return this.#publishList(await before.next(await this.account(), change(before.devices)));
  }

  // Others

  /** The accepted list of a user. @returns {Promise<DeviceList | undefined>} */
  current(user) {
    return this.#context.store.transaction((tx) => currentList(tx, user));
  }

  /** Lists of a user: those after an epoch, or with 0 the current one. */
  async lists(user, since) {
    const path = `e2ee/users/${encodeURIComponent(user)}/device-lists`;
    const page = await this.#context.rest.get(path, since ? { since } : {}).catch((error) => {
      if (error.status === 404) return { results: [] };
      throw error;
    });
    const lists = [];
    for (const row of page.results) {
      const list = await this.#trying(user, () => DeviceList.fromBytes(unb64(row.device_list)));
      if (list.user !== user) throw this.#refused(user, "it is of another user");
      lists.push(list);
    }
    return lists;
  }

  /**
   * Bring a user's list up to date. Throws ClientError: `account_changed` for another account key, `list_refused` for a
   * rollback or a fork.
   * @param {number | null} [epoch] what the server says it is now; without it, whatever is newest
   */
  async refresh(user, epoch) {
    const known = await this.current(user);
    // Which list of our own user is right a new device learns by being linked, not from the server.
    if (!known && user === this.#context.address.user) return;
    if (known && epoch === known.epoch) return void (await this.#checkConsent(user));
    const older = known && epoch !== undefined && epoch !== null && epoch < known.epoch;
    for (let since = known && !older ? known.epoch : 0; ; ) {
      const found = await this.lists(user, since);
      if (!found.length) break;
      await this.accept(found);
      if (since === 0 || found.at(-1).epoch <= since) break; // the last page, or a server that gives the same again
      since = found.at(-1).epoch;
    }
    // Nothing newer than ours: the current one must be ours then, or the account was started over.
    if (known && !older && (await this.current(user)).epoch === known.epoch) await this.accept(await this.lists(user, 0));
    await this.#checkConsent(user);
  }

  /** Accept lists of one user, the oldest first; tell of what has changed. */
  async accept(lists) {
    const { store, vault, tell } = this.#context;
    for (const list of lists) {
      const { user } = list;
      const before = await this.current(user);
      const { expected } = (await vault.get("user", user)) ?? {};
      if (!before && expected && expected !== typed(list.account)) await this.#changed(user, list);
      try {
        const { added, removed } = await acceptDeviceList(store, list);
        const ids = (records) => records.map((record) => record.address.device);
        if (before && added.length + removed.length)
          tell("devices_changed", { userId: user, added: ids(added), removed: ids(removed) });
      } catch (error) {
        const isOther = error instanceof UntrustedIdentity && before && !equal(before.account, list.account);
        if (isOther) await this.#changed(user, list);
        if (!(error instanceof E2EEError)) throw error;
        throw this.#refused(user, error.message);
      }
    }
  }

  /** What to throw, once the page was told. */
  #refused(userId, why) {
    this.#context.tell("list_refused", { userId, reason: why });
    return refused(userId, why);
  }

  /** What the core says of a list becomes `list_refused`. */
  async #trying(user, work) {
    try {
      return await work();
    } catch (error) {
      throw error instanceof E2EEError ? this.#refused(user, error.message) : error;
    }
  }

  /**
   * Our own user's list, for a device that has a `vouched` one from the backup: that one, and what follows it. Throws
   * ClientError: `account_changed` where the server names another account, `list_refused` where its lists go back behind
   * the vouched one or fork from it.
   */
  async adopt(vouched) {
    const { store } = this.#context;
    const { user } = vouched;
    const newest = (await this.lists(user, 0)).at(-1);
    if (!newest || !equal(newest.account, vouched.account))
      throw new ClientError("account_changed", "The backup is of another account than the server names now.", { userId: user });
    let known = await this.current(user);
    if (!known || !equal(known.account, vouched.account)) {
      await trustAccount(store, vouched);
      known = vouched;
    }
    for (;;) {
      const followers = await this.lists(user, known.epoch);
      if (!followers.length || followers.at(-1).epoch <= known.epoch) break;
      for (const list of followers) {
        const forks = list.epoch === vouched.epoch && !equal(await list.hash(), await vouched.hash());
        if (forks) throw this.#refused(user, "it is another one than the backup has");
        await this.accept([list]);
      }
      known = followers.at(-1);
    }
    if (known.epoch < vouched.epoch || newest.epoch < vouched.epoch) throw this.#refused(user, "it is older than the backup");
    if (newest.epoch === known.epoch) await this.accept([newest]); // of the same epoch there must not be another
    return known;
  }

  /**
   * Account keys of others (typed) as a device of ours, or the backup, knows them. Where the server has given this device
   * another one already, nothing of that is trusted any more; where it gives another one from now on, the page is told.
   */
  async expect(accounts) {
    const { vault, address } = this.#context;
    for (const [user, key] of Object.entries(accounts)) {
      if (user === address.user) continue;
      await vault.transaction(async (rows) => rows.put("user", user, { ...(await rows.get("user", user)), expected: key }));
      const list = await this.current(user);
      if (list && typed(list.account) !== key) await this.#drop(user);
    }
  }

  /** Whether this device is in the list of its user that is known here. */
  async isListed() {
    const { device, address } = this.#context;
    return Boolean((await this.current(address.user))?.devices.some((record) => record.sameAs(device.record)));
  }

  /** Whether somebody is known to have keys, whatever the server says of them now. */
  async hasKeys(user) {
    const row = await this.#context.vault.get("user", user);
    return Boolean(row?.expected ?? row?.changed ?? (await this.current(user)));
  }

  /** Another account key than the one known: remembered until the user has looked at it. */
  async #changed(user, list) {
    const { vault, tell } = this.#context;
    await list.verify();
    const seen = (await vault.get("user", user)) ?? {};
    const bytes = list.toBytes();
    await vault.put("user", user, { ...seen, changed: bytes });
    if (!seen.changed || !equal(seen.changed, bytes)) tell("account_changed", { userId: user });
    throw accountChanged(user);
  }

  async #checkConsent(user) {
    if ((await this.#context.vault.get("user", user))?.changed) throw accountChanged(user);
  }

  /** The user has looked at an account key (typed), if given, and agrees to it as the new one of somebody. */
  async trustAccount(user, account) {
    const { store, vault, tell } = this.#context;
    const row = await vault.get("user", user);
    const list = await this.shown(user);
    if (account !== undefined && (!list || typed(list.account) !== account)) throw accountChanged(user);
    if (!row?.changed) return;
    await trustAccount(store, list);
    const { changed, verified, expected, ...rest } = row;
    await vault.put("user", user, rest);
    this.forgetRooms();
    tell("account_trusted", { userId: user });
  }

  /** The list whose account key is shown to the user: the one that waits for consent, or the accepted one. */
  async shown(user) {
    const row = await this.#context.vault.get("user", user);
    return row?.changed ? DeviceList.fromBytes(row.changed) : this.current(user);
  }

  /** One's own account was started over: its list counts no more. */
  async forgetOwn() {
    const { vault, address } = this.#context;
    await vault.delete("user", address.user);
    await this.#drop(address.user);
  }

  /** Forget a user's list, and the identities and sessions of the devices in it. */
  #drop(user) {
    return this.#context.store.transaction(async (tx) => {
      for (const [key, bytes] of await tx.scan(DEVICE_LIST)) {
        const list = DeviceList.fromBytes(bytes);
        if (list.user !== user) continue;
        for (const { address } of list.devices) if (!address.equals(this.#context.address)) await forgetAddress(tx, address);
        tx.delete(DEVICE_LIST, key);
      }
    });
  }

  forgetRooms(room) {
    this.#forgotten += 1; // an answer that is on its way may be from before
    if (room === undefined) this.#rooms.clear();
    else this.#rooms.delete(room);
  }

  /** Whom a message in a room is for: [{user, devices: [Address]}], the lists up to date, one's own user among them. */
  async recipients(room) {
    const { rest } = this.#context;
    let found = this.#rooms.get(room);
    for (let tries = 0; !found; tries += 1) {
      const before = this.#forgotten;
      const { results } = await rest.get(`e2ee/rooms/${encodeURIComponent(room)}/devices`);
      if (before === this.#forgotten) this.#rooms.set(room, results);
      if (before === this.#forgotten || tries === ASKED) found = results;
    }
    return found.map(({ user_id, epoch, device_ids }) => {
      const user = String(user_id);
      return { user, epoch, devices: device_ids.map((id) => new Address(user, id)) };
    });
  }

  /** Have a session with each device. Throws ClientError `list_refused` for a device that its user's list lacks. */
  async sessions(addresses, { anew = false } = {}) {
    const { store } = this.#context;
    const users = new Map();
    for (const address of addresses) {
      if (!anew && (await hasSession(store, address))) continue;
      users.set(address.user, [...(users.get(address.user) ?? []), address]);
    }
    for (const [user, missing] of users) {
      const bundles = await this.#claim(user, missing.length === 1 ? missing[0].device : undefined);
      for (const address of missing) {
        const bundle = bundles.get(address.device);
        if (!bundle) throw new ClientError("stale_device_list", `${address.device} has no keys any more.`, { address });
        await processPrekeyBundle(store, address, bundle);
      }
    }
  }

  /** Claim bundles of somebody, after taking the list that comes with them. @returns {Promise<Map<string, PreKeyBundle>>} */
  async #claim(user, device) {
    const { rest, address } = this.#context;
    const body = { claim_id: contentId(), device_id: device };
    if (user === address.user) body.own_device_id = address.device;
    const answer = await rest.post(`e2ee/bundles/${encodeURIComponent(user)}`, body);
    const known = await this.current(user);
    await this.#checkConsent(user);
    // The core would trust a device without a list on first use, and no account key would ever vouch for it.
    if (user !== address.user && answer.bundles.length && !answer.device_list) throw this.#refused(user, "there are keys, but no list");
    if (answer.device_list && (known || user !== address.user)) {
      const list = await this.#trying(user, () => DeviceList.fromBytes(unb64(answer.device_list)));
      if (list.user !== user) throw this.#refused(user, "it is of another user");
      if (known && list.epoch > known.epoch + 1) await this.refresh(user);
      else await this.accept([list]);
    }
    return new Map(answer.bundles.map((one) => [one.device_id, PreKeyBundle.fromBytes(unb64(one.bundle))]));
  }

  /** All devices of one's own user that have published keys, listed or not. */
  claimOwn() {
    return this.#claim(this.#context.address.user);
  }
}

function refused(userId, why) {
  return new ClientError("list_refused", `The server's list of their devices can't be right: ${why}.`, { userId });
}

export function accountChanged(userId) {
  return new ClientError("account_changed", "Their security keys have changed. Look at it before you write to them.", { userId });
}
