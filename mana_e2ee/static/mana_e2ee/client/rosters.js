// Who is in a group: the membership log, which members sign, and not what the server says. See docs/e2ee-clients.md.

import { MembershipEntry, MembershipLog } from "../e2ee.js";
import { compare, equal } from "../encoding.js";
import { ADD, REMOVE } from "../membership.js";
import { DeviceRecord } from "../records.js";
import { b64, control, invalid, unb64 } from "./contents.js";
import { ClientError } from "./errors.js";

const ANSWER_AGAIN = 60_000; // ms between two answers to the same device
const ASKED = 3; // times more that the server is asked for the members, while they change

export class Rosters {
  #context;
  #controls;
  #directory;
  #logs = new Map(); // room -> {length, log}: what was replayed last
  #answered = new Map();
  #members = new Map(); // room -> user ids, as the server names them
  #changes = 0; // of members that were told

  constructor(context, directory, controls) {
    this.#context = context;
    this.#directory = directory;
    this.#controls = controls;
  }

  forgetMembers(room) {
    this.#changes += 1; // an answer that is on its way is from before
    this.#members.delete(room);
  }

  /** The log as this device has accepted it. @returns {Promise<MembershipLog | null>} */
  async log(room) {
    const row = await this.#context.vault.get("log", room);
    return row ? this.#replay(room, row) : null;
  }

  async #replay(room, { entries, records }) {
    const cached = this.#logs.get(room);
    const last = entries.at(-1);
    if (cached && cached.length === entries.length && equal(cached.last, last)) return cached.log;
    const known = records.map((record) => DeviceRecord.fromBytes(record));
    const log = await MembershipLog.replay(room, entries.map((bytes) => signedBy(MembershipEntry.fromBytes(bytes), known)));
    this.#logs.set(room, { length: entries.length, last, log });
    return log;
  }

  async #save(room, log, records) {
    const actors = log.entries.map((entry) => entry.actor.key);
    const needed = [...new Map(records.map((record) => [record.address.key, record])).values()].filter((record) => actors.includes(record.address.key));
    const row = { entries: log.entries.map((entry) => entry.toBytes()), records: needed.map((record) => record.toBytes()) };
    await this.#context.vault.put("log", room, row);
    this.#logs.delete(room);
    this.#context.tell("group_changed", { roomId: room, members: [...log.members] });
  }

  async #records(room) {
    const row = await this.#context.vault.get("log", room);
    return [...(row?.records ?? []).map((record) => DeviceRecord.fromBytes(record)), this.#context.device.record];
  }

  /** Who is in the room according to the server. */
  async members(room) {
    for (let tries = 0; ; tries += 1) {
      if (this.#members.has(room)) return this.#members.get(room);
      const before = this.#changes;
      const users = [];
      for (let path = `rooms/${encodeURIComponent(room)}/members`; path; ) {
        const page = await this.#context.rest.get(path);
        users.push(...page.results.map((member) => String(member.user_id)));
        path = page.next;
      }
      if (before === this.#changes) this.#members.set(room, users);
      else if (tries === ASKED) return users;
    }
  }

  /** Found the log if there is none, and remove who has left. Throws ClientError `unknown_member`. */
  async ready(room) {
    const { store, address } = this.#context;
    const users = await this.members(room);
    let log = await this.log(room);
    if (!log) {
      log = new MembershipLog(room);
      await log.propose(store, { add: address.user });
      for (const user of [...users].sort()) if (user !== address.user) await log.propose(store, { add: user });
      await this.#save(room, log, [this.#context.device.record]);
      await this.#announce(room, users);
      return log;
    }
    if (!log.members.has(address.user)) throw new ClientError("unknown_member", "You are not in this group's list of members.", { users: [address.user] });
    const gone = [...log.members].filter((user) => !users.includes(user));
    if (gone.length) log = await this.#change(room, gone.map((user) => ({ remove: user })));
    const unknown = users.filter((user) => !log.members.has(user));
    if (unknown.length) throw new ClientError("unknown_member", "Somebody has joined whom nobody has let in yet.", { users: unknown });
    return log;
  }

  /** People in the room who are not in its log. */
  async unknown(room) {
    const log = await this.log(room);
    return log ? (await this.members(room)).filter((user) => !log.members.has(user)) : [];
  }

  /** The user lets people in. */
  async admit(room, users) {
    const log = await this.log(room);
    const missing = users.filter((user) => !log?.members.has(user));
    if (log && missing.length) await this.#change(room, missing.map((user) => ({ add: user })));
  }

  async #change(room, changes) {
    const records = await this.#records(room);
    const row = await this.#context.vault.get("log", room);
    const known = row.records.map((record) => DeviceRecord.fromBytes(record));
    const log = await MembershipLog.replay(room, row.entries.map((bytes) => signedBy(MembershipEntry.fromBytes(bytes), known)));
    for (const change of changes) await log.propose(this.#context.store, change);
    await this.#save(room, log, records);
    await this.#announce(room, [...log.members]);
    return log;
  }

  /** Send the log to the devices of everybody who is in it. */
  async #announce(room, users) {
    const recipients = await this.#directory.recipients(room);
    const addresses = [];
    for (const { user, epoch, devices } of recipients) {
      if (!users.includes(user)) continue;
      await this.#directory.refresh(user, epoch);
      addresses.push(...devices);
    }
    await this.give(room, addresses);
  }

  /** @param {Address[]} addresses */
  async give(room, addresses) {
    const row = await this.#context.vault.get("log", room);
    if (!row) return;
    await this.#controls.send(control("log", { room, entries: row.entries.map(b64), records: row.records.map(b64) }), addresses, { room });
  }

  /** Another device asks for the log: a member's, once a minute. */
  async answer(room, address) {
    const list = await this.#directory.current(address.user);
    const isMember = (await this.log(room))?.members.has(address.user);
    if (!isMember || !list?.devices.some((record) => record.address.equals(address))) return;
    const key = `${room} ${address.key}`;
    if (this.#answered.get(key) > Date.now() - ANSWER_AGAIN) return;
    this.#answered.set(key, Date.now());
    await this.give(room, [address]);
  }

  /** A log that came from a device. @returns {Promise<boolean>} whether ours has changed */
  async receive(room, sender, { entries, records }) {
    if (!Array.isArray(entries) || !Array.isArray(records) || !entries.length) throw invalid("a log has entries and records");
    const theirs = entries.map((text) => MembershipEntry.fromBytes(unb64(text)));
    const brought = records.map((text) => DeviceRecord.fromBytes(unb64(text)));
    for (const record of brought) await record.verify();
    const ours = await this.log(room);
    if (!ours) {
      const log = await MembershipLog.replay(room, theirs.map((entry) => signedBy(entry, brought)));
      this.#checkSides(log, sender, log);
      await this.#save(room, log, brought);
      return true;
    }
    let common = 0;
    const bytes = ours.entries.map((entry) => entry.toBytes());
    while (common < bytes.length && common < theirs.length && equal(bytes[common], theirs[common].toBytes())) common += 1;
    if (common === theirs.length) return false;
    const lost = ours.entries.slice(common);
    if (lost.length && !(await wins(theirs[common], lost[0]))) return false;
    const known = await this.#records(room);
    const kept = ours.entries.slice(0, common).map((entry) => signedBy(entry, known));
    const added = [];
    for (const entry of theirs.slice(common)) added.push([entry, await this.#trusted(entry.actor)]);
    const log = await MembershipLog.replay(room, [...kept, ...added]);
    this.#checkSides(ours, sender, log);
    await this.#save(room, log, [...known, ...added.map(([, record]) => record)]);
    const again = lost.filter((entry) => entry.actor.equals(this.#context.address) && log.members.has(entry.subject) === (entry.action === REMOVE));
    if (again.length)
      await this.#change(room, again.map(({ action, subject }) => (action === ADD ? { add: subject } : { remove: subject })));
    return true;
  }

  /** The sender is a member of the log that was known, and so is this user of the new one. */
  #checkSides(known, sender, next) {
    if (!known.members.has(sender.user)) throw invalid("a log from somebody who is no member");
    if (!next.members.has(this.#context.address.user)) throw invalid("a log of a group without this user");
  }

  /** A log from a backup or another device of ours, where there is none yet. */
  async restore(room, { entries, records }) {
    if (await this.log(room)) return;
    const brought = records.map((text) => DeviceRecord.fromBytes(unb64(text)));
    for (const record of brought) await record.verify();
    const log = await MembershipLog.replay(room, entries.map((text) => signedBy(MembershipEntry.fromBytes(unb64(text)), brought)));
    await this.#save(room, log, brought);
  }

  /** The record that is trusted for an actor now: of its user's device list. */
  async #trusted(actor) {
    const { device, address } = this.#context;
    if (actor.equals(address)) return device.record;
    if (!(await this.#directory.current(actor.user))) await this.#directory.refresh(actor.user);
    const find = async () => (await this.#directory.current(actor.user))?.devices.find((record) => record.address.equals(actor));
    let record = await find();
    if (!record) {
      await this.#directory.refresh(actor.user);
      record = await find();
    }
    if (!record) throw invalid("an entry of a device that is not trusted");
    return record;
  }
}

function signedBy(entry, records) {
  const record = records.find((one) => one.address.equals(entry.actor));
  if (!record) throw invalid("the record of an actor is missing");
  return [entry, record];
}

/** Of two entries after the same one: the removal of the other's author, else the older, else the lower hash. */
export async function wins(one, other) {
  const removes = (a, b) => a.action === REMOVE && a.subject === b.actor.user;
  if (removes(one, other) !== removes(other, one)) return removes(one, other);
  if (one.created !== other.created) return one.created < other.created;
  return compare(await one.hash(), await other.hash()) < 0;
}
