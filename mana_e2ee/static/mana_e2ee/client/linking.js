// A new device and an old one of the same user: a code that one shows and the other is given, and what follows.

import { AccountKey, DeviceList, identity, processPrekeyBundle, trustAccount } from "../e2ee.js";
import { equal } from "../encoding.js";
import { b64, control, invalid, unb64 } from "./contents.js";
import { ClientError } from "./errors.js";
import { LinkCode, recordHash } from "./linkcode.js";

const LIVES = 600_000; // ms that a code holds

export class Linking {
  #context;
  #directory;
  #controls;
  #backups;

  constructor(context, directory, controls, backups) {
    this.#context = context;
    this.#directory = directory;
    this.#controls = controls;
    this.#backups = backups;
  }

  /** On the new device: the code to show, which holds for ten minutes; the same in all its tabs, and after a reload. */
  async showCode() {
    const { vault, device } = this.#context;
    let kept = await vault.get("own", "code");
    if (!kept || kept.until < Date.now() + LIVES / 2) {
      const { hash, secret } = await LinkCode.make(device.record);
      kept = { hash, secret, until: Date.now() + LIVES };
      await vault.put("own", "code", kept);
    }
    const code = new LinkCode(kept.hash, kept.secret);
    return { text: await code.text(), qr: await code.qr(), until: kept.until };
  }

  /** On the new device: the account has come. */
  async accountCame({ sender, said }) {
    const { store, vault, device, tell } = this.#context;
    const own = device.record;
    const shown = await vault.get("own", "code");
    if (!shown || Date.now() > shown.until || sender.user !== own.address.user) throw invalid("nobody is being linked");
    const code = new LinkCode(shown.hash, shown.secret);
    const seed = unb64(said.seed);
    const account = await AccountKey.fromSeed(seed);
    const list = DeviceList.fromBytes(unb64(said.list));
    await list.verify();
    const old = await identity(store, sender);
    if (!old || !equal(await code.proof(account.publicKey, old, own), unb64(said.proof)))
      throw invalid("it was not made with the code that is shown here");
    const has = (record) => list.devices.some((one) => one.sameAs(record));
    if (!equal(list.account, account.publicKey) || list.user !== own.address.user || !has(old) || !has(own))
      throw invalid("the device list does not have both devices");
    await vault.delete("own", "code");
    const { verified, accounts } = checkedTrust(said);
    await vault.put("own", "seed", seed); // first: without it, who is in the list can do nothing
    await trustAccount(store, list);
    await takeVerified(vault, verified, own.address.user);
    await this.#directory.expect(accounts);
    await vault.delete("user", own.address.user); // what a removed device held against its own account
    this.#directory.forgetRooms();
    tell("linked", {});
  }

  /** On an old device: vouch for the one that shows this code, and give it what it needs. @returns {Promise<string>} its id */
  async link(text) {
    const { store, vault, device, address } = this.#context;
    const code = await LinkCode.fromText(text);
    const account = await this.#directory.account();
    const bundles = [...(await this.#directory.claimOwn()).values()];
    const hashes = await Promise.all(bundles.map(({ record }) => recordHash(record)));
    const bundle = bundles[hashes.findIndex((hash) => equal(hash, code.hash))];
    if (!bundle || bundle.record.address.user !== address.user)
      throw new ClientError("code_wrong", "No device of yours shows this code. Is it signed in, and online?");
    await bundle.verify();
    const fresh = bundle.record;
    await this.#directory.refresh(address.user);
    let list = await this.#directory.current(address.user);
    if (!list.devices.some((record) => record.sameAs(fresh)))
      list = await this.#directory.publishNext((records) => [...records.filter((one) => !one.address.equals(fresh.address)), fresh]);
    await processPrekeyBundle(store, fresh.address, bundle);
    const said = {
      seed: b64(await vault.get("own", "seed")),
      list: b64(list.toBytes()),
      ...(await this.#backups.trust()),
      proof: b64(await code.proof(account.publicKey, device.record, fresh)),
    };
    await this.#controls.send(control("account", said), [fresh.address]);
    await this.#backups.shareRecovery([fresh.address]);
    await this.#backups.handOver(fresh.address);
    return fresh.address.device;
  }

  /** Remove another device of the user: from the list, and its keys at the server. */
  async unlink(deviceId) {
    const { rest, address } = this.#context;
    if (deviceId === address.device) throw new ClientError("not_found", "A device does not remove itself: sign out instead.");
    const list = await this.#directory.current(address.user);
    if (list.devices.some((record) => record.address.device === deviceId))
      await this.#directory.publishNext((records) => records.filter((one) => one.address.device !== deviceId));
    await rest.delete(`e2ee/devices/${encodeURIComponent(deviceId)}`).catch((error) => {
      if (error.status !== 404) throw error;
    });
  }
}

/** What another device of the user says of others. Throws ClientError `invalid_content`. */
export function checkedTrust({ verified = {}, accounts = {} }) {
  for (const table of [verified, accounts])
    if (!table || typeof table !== "object" || Object.values(table).some((key) => typeof key !== "string"))
      throw invalid("not a table of keys");
  return { verified, accounts };
}

/** Take over whom the user has verified on another device. */
export async function takeVerified(vault, verified, me) {
  await vault.transaction(async (rows) => {
    for (const [user, key] of Object.entries(verified))
      if (user !== me) rows.put("user", user, { ...(await rows.get("user", user)), verified: key });
  });
}
