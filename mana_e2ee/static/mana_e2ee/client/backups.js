// History out and in: for a device that was linked just now, and for the backup under the recovery key.

import { AccountKey, Attachment, Backup, DeviceList, RecoveryKey, acceptDeviceList } from "../e2ee.js";
import { equal } from "../encoding.js";
import { DEVICE_LIST } from "../tables.js";
import { Address } from "../records.js";
import { b64, checkedContent, control, decode, invalid, unb64 } from "./contents.js";
import { typed } from "./directory.js";
import { ClientError } from "./errors.js";
import { downloadDecrypted } from "./files.js";
import { apply } from "./history.js";
import { checkedTrust, takeVerified } from "./linking.js";
import { refKey } from "./vault.js";

const LARGEST_BACKUP = 980_000; // bytes of plaintext; the server's E2EE_BACKUP_BYTES is 1 MiB
const LARGEST_HISTORY = 8_000_000;
const RECOVERY_KEY = 32; // bytes
const encoder = new TextEncoder();

export class Backups {
  #context;
  #directory;
  #controls;
  #rosters;

  constructor(context, directory, controls, rosters) {
    this.#context = context;
    this.#directory = directory;
    this.#controls = controls;
    this.#rosters = rosters;
  }

  /** {verified, accounts}: whom the user has verified, and the account keys that are known. */
  async trust() {
    const { vault, store, address } = this.#context;
    const verified = {};
    for (const [user, row] of await vault.scan("user")) if (row.verified) verified[user] = row.verified;
    const accounts = {};
    for (const [, bytes] of await store.transaction((tx) => tx.scan(DEVICE_LIST))) {
      const list = DeviceList.fromBytes(bytes);
      if (list.user !== address.user) accounts[list.user] = typed(list.account);
    }
    return { verified, accounts };
  }

  /** The newest contents that fit into `most` bytes, and the logs. */
  async #exported(most) {
    const { vault, address } = this.#context;
    const logs = {};
    for (const [room, row] of await vault.scan("log")) logs[room] = { entries: row.entries.map(b64), records: row.records.map(b64) };
    const history = (await vault.scan("history")).map(([, row]) => row).filter((row) => row.id && !row.unreadable);
    history.sort((a, b) => b.sequence - a.sequence);
    let size = JSON.stringify(logs).length;
    const messages = [];
    const deleted = new Set(history.filter((row) => row.deleted).map((row) => refKey(row.room, row)));
    for (const row of history) {
      if (row.kind === "edit" && deleted.has(refKey(row.room, row.target))) continue;
      const one = { message_id: row.message_id, sequence: row.sequence, index: row.index, timestamp: row.timestamp, content: contentOf(row) };
      size += encoder.encode(JSON.stringify(one)).length + 1;
      if (size > most) break;
      messages.unshift(one);
    }
    return { v: 1, user: address.user, messages, logs };
  }

  /** Write down what is not here yet. @returns {Promise<number>} how many contents */
  async #takeIn({ v, user, messages, logs }) {
    if (v !== 1 || user !== this.#context.address.user) throw invalid("it is of another user, or written by a newer version");
    if (!Array.isArray(messages) || !logs || typeof logs !== "object") throw invalid("no history");
    let taken = 0;
    const rooms = new Set();
    for (const { message_id, sequence, index, timestamp, content } of messages) {
      if (typeof message_id !== "string" || !Number.isSafeInteger(sequence)) throw invalid("not a message");
      checkedContent(content, content?.room, new Address(content.from, content.device));
      if (await this.#context.vault.get("gone", message_id)) continue; // from a device that had not heard of its end
      const place = { message_id, sequence, index: index ?? undefined, timestamp: String(timestamp ?? "") };
      taken += (await this.#context.vault.transaction((rows) => apply(rows, content, place))) ? 1 : 0;
      await this.#context.vault.delete("held", message_id);
      rooms.add(content.room);
    }
    for (const [room, log] of Object.entries(logs)) await this.#rosters.restore(room, log);
    for (const room of rooms) await this.#context.rooms.encrypted(room);
    this.#context.tell("history", { count: taken });
    return taken;
  }

  /** To a device that was linked just now: the history, as an encrypted file. */
  async handOver(address) {
    const data = encoder.encode(JSON.stringify(await this.#exported(LARGEST_HISTORY)));
    const { pointer, ciphertext } = await Attachment.encrypt(data);
    const { id } = await this.#context.client.upload(new Blob([ciphertext], { type: "application/octet-stream" }), { name: "file" });
    const attachment = { id, pointer: b64(pointer.toBytes()), name: "history", type: "application/json", size: data.length };
    await this.#controls.send(control("history", { attachment }), [address]);
  }

  async historyCame({ sender, said }) {
    await this.#needOwn(sender);
    const file = await downloadDecrypted(this.#context.client, said.attachment);
    await this.#takeIn(decode(new Uint8Array(await file.arrayBuffer())));
    await this.#context.rest.delete(`attachments/${encodeURIComponent(said.attachment.id)}`).catch(() => {}); // else it is pruned
  }

  async trustCame({ sender, said }) {
    await this.#needOwn(sender);
    const { vault } = this.#context;
    await takeVerified(vault, checkedTrust({ verified: said.verified }).verified, sender.user);
    const cleared = Array.isArray(said.cleared) ? said.cleared.filter((one) => typeof one === "string") : [];
    await vault.transaction(async (rows) => {
      for (const user of cleared) rows.put("user", user, { ...(await rows.get("user", user)), verified: undefined });
    });
    this.#context.tell("verified", {});
  }

  /** Tells our other devices what was decided about one person, and nothing of others: they may know better. */
  async shareTrust(user, key) {
    const said = key ? { verified: { [user]: key } } : { verified: {}, cleared: [user] };
    await this.#controls.send(control("trust", said), await this.#others(this.#context.address.user));
  }

  async #others(user) {
    return (await this.#directory.current(user)).devices.map((record) => record.address);
  }

  async #needOwn(sender) {
    const list = await this.#directory.current(this.#context.address.user);
    if (sender.user !== this.#context.address.user || !list?.devices.some((record) => record.address.equals(sender)))
      throw invalid("it is not from a device of our own");
  }

  // The backup

  /** Make a recovery key, which the user must be shown, and the first backup. @returns {Promise<string>} its text */
  async enable() {
    await this.#directory.account();
    const key = RecoveryKey.generate();
    await this.#decide(key.key);
    await this.store();
    await this.shareRecovery();
    return key.text();
  }

  #decide(key, at) {
    return this.#context.vault.transaction(async (rows) => {
      const after = ((await rows.get("own", "recovery_at")) ?? 0) + 1;
      if (key) rows.put("own", "recovery", key);
      else rows.delete("own", "recovery");
      rows.put("own", "recovery_at", at ?? Math.max(Math.floor(Date.now() / 1000), after));
    });
  }

  /**
   * Tell our other devices, or just these, which recovery key holds, or that there is to be no backup. Otherwise each would
   * go on writing backups under the key that it knows, and the user's would not open them.
   */
  async shareRecovery(addresses) {
    const { vault, address } = this.#context;
    const at = await vault.get("own", "recovery_at");
    if (at === undefined) return;
    const key = await vault.get("own", "recovery");
    await this.#controls.send(control("recovery", { key: key ? b64(key) : null, at }), addresses ?? (await this.#others(address.user)));
  }

  async recoveryCame({ sender, said: { key, at } }) {
    await this.#needOwn(sender);
    if (!Number.isSafeInteger(at) || (key !== null && unb64(key).length !== RECOVERY_KEY)) throw invalid("no decision about the backup");
    const { vault } = this.#context;
    const [before, mine] = [(await vault.get("own", "recovery_at")) ?? 0, await vault.get("own", "recovery")];
    // Of two that were made at once all devices take the same.
    if (at < before || (at === before && (key ?? "") <= (mine ? b64(mine) : ""))) return;
    await this.#decide(key && unb64(key), at);
    // Ours may have arrived after the other device's DELETE.
    if (!key) await this.#context.rest.delete("e2ee/backup").catch(() => {});
    // Ours, under the key before, may have replaced that device's. Who had none has not written any, nor a history to write.
    else if (mine) await this.store().catch(() => {}); // with the next message
    this.#context.tell("backup", { enabled: Boolean(key) });
  }

  /** The recovery key as text, or null. */
  async recoveryKey() {
    const key = await this.#context.vault.get("own", "recovery");
    return key ? new RecoveryKey(key).text() : null;
  }

  /** No backup from now on, on none of our devices. */
  async disable() {
    await this.#decide(null);
    await this.shareRecovery();
    await this.#context.rest.delete("e2ee/backup");
  }

  /** Write the backup anew, where there is to be one. */
  async store() {
    const { vault, rest, address } = this.#context;
    const key = await vault.get("own", "recovery");
    const seed = await vault.get("own", "seed");
    if (!key || !seed) return;
    const list = await this.#directory.current(address.user);
    const head = { seed: b64(seed), list: b64(list.toBytes()), ...(await this.trust()) };
    const plaintext = { ...(await this.#exported(LARGEST_BACKUP - JSON.stringify(head).length)), ...head };
    const sealed = await Backup.seal(new RecoveryKey(key), encoder.encode(JSON.stringify(plaintext)));
    await rest.put("e2ee/backup", { backup: b64(sealed) });
  }

  /** On a device that is not linked: the account and the history, with the recovery key. @returns {Promise<number>} contents */
  async restore(text) {
    const { rest, store, vault, device, address, tell } = this.#context;
    const recovery = await RecoveryKey.fromText(text);
    const { backup } = await rest.get("e2ee/backup").catch((error) => {
      throw error.status === 404 ? new ClientError("not_found", "There is no backup.") : error;
    });
    const opened = await Backup.open(recovery, unb64(backup)).catch(() => {
      throw new ClientError("wrong_key", "This key does not open the backup.");
    });
    const known = decode(opened);
    const account = await AccountKey.fromSeed(unb64(known.seed));
    const before = DeviceList.fromBytes(unb64(known.list));
    await before.verify();
    if (before.user !== address.user || !equal(before.account, account.publicKey)) throw invalid("its device list is of another account");
    const { verified, accounts } = checkedTrust(known);
    let list = await this.#directory.adopt(before);
    if (!list.devices.some((record) => record.sameAs(device.record))) {
      list = await list.next(account, [...list.devices.filter((one) => !one.address.equals(address)), device.record]);
      await rest.put("e2ee/device-list", { device_list: b64(list.toBytes()) });
      await acceptDeviceList(store, list);
    }
    await takeVerified(vault, verified, address.user);
    await this.#directory.expect(accounts);
    await vault.put("own", "seed", unb64(known.seed));
    await vault.put("own", "recovery", recovery.key);
    await vault.delete("user", address.user);
    this.#directory.forgetRooms();
    const count = await this.#takeIn(known);
    tell("linked", {});
    return count;
  }
}

/** A row of the history as the content that it was. */
function contentOf(row) {
  const { room, from, device, id, at, kind, text, data, reply_to, reply_plain, mentions, attachments } = row;
  const { target, emoji, remove } = row;
  const said = { text, data, reply_to, reply_plain, mentions, attachments, target, emoji, remove };
  const content = { v: 1, kind, room, from, device, id, at, ...said };
  // An edited text is told with its edit; what was deleted says nothing any more, but is there.
  if (row.deleted) Object.assign(content, kind === "custom" ? { data: null } : { text: "(deleted)" });
  return content;
}
