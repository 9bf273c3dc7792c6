// Who is in a group: a signed chain of entries. See core/membership.py.

import { ownIdentity } from "./device.js";
import { Reader, concat, equal, fields, lp, name, u64, u8 } from "./encoding.js";
import { InvalidMessage, NotAMember } from "./errors.js";
import { VERSION } from "./limits.js";
import { SIGNATURE_SIZE, label, sha256, sign, verify } from "./primitives.js";
import { Address, checkVersion } from "./records.js";
import { clock } from "./tables.js";

const MEMBERSHIP_LABEL = label("membership");
export const ADD = 1;
export const REMOVE = 2;

export class MembershipEntry {
  constructor({ group, sequence, previous, action, subject, actor, created, signature = new Uint8Array() }) {
    Object.assign(this, { group, sequence, previous, action, subject, actor, created, signature });
    Object.freeze(this);
  }

  #body() {
    return concat(
      u8(VERSION),
      lp(name(this.group)),
      u64(this.sequence),
      this.previous,
      u8(this.action),
      lp(name(this.subject)),
      this.actor.toBytes(),
      u64(this.created),
    );
  }

  signed() {
    return fields(MEMBERSHIP_LABEL, this.#body());
  }

  hash() {
    return sha256(this.signed());
  }

  toBytes() {
    return concat(this.#body(), this.signature);
  }

  static fromBytes(data) {
    const reader = new Reader(data);
    checkVersion(reader.u8());
    const entry = new MembershipEntry({
      group: reader.name(),
      sequence: reader.u64(),
      previous: reader.take(32),
      action: reader.u8(),
      subject: reader.name(),
      actor: Address.read(reader),
      created: reader.u64(),
      signature: reader.take(SIGNATURE_SIZE),
    });
    reader.end();
    return entry;
  }
}

/** The members after the entries accepted so far. The first entry adds its own actor's user. */
export class MembershipLog {
  constructor(group) {
    name(group);
    Object.assign(this, { group, entries: [], members: new Set(), lastRemoval: 0 });
  }

  /** The log rebuilt from [entry, record of the device that must have signed it]. */
  static async replay(group, entries) {
    const log = new MembershipLog(group);
    for (const [entry, record] of entries) await log.append(entry, record);
    return log;
  }

  get epoch() {
    return this.entries.length;
  }

  async #previous() {
    return this.epoch ? this.entries.at(-1).hash() : new Uint8Array(32);
  }

  /** An entry signed by this device, appended. Name one user, `add` or `remove`. */
  async propose(store, { add, remove, now } = {}) {
    if ((add === undefined) === (remove === undefined)) throw new TypeError("name one user, to add or to remove");
    const own = await store.transaction(ownIdentity);
    const unsigned = new MembershipEntry({
      group: this.group,
      sequence: this.epoch + 1,
      previous: await this.#previous(),
      action: remove === undefined ? ADD : REMOVE,
      subject: remove ?? add,
      actor: own.record.address,
      created: clock(now),
    });
    const entry = new MembershipEntry({ ...unsigned, signature: await sign(own.signingKey, unsigned.signed()) });
    await this.append(entry, own.record);
    return entry;
  }

  /** Accepts the next entry. `record` is the trusted record of its actor. */
  async append(entry, record) {
    const follows = entry.sequence === this.epoch + 1 && equal(entry.previous, await this.#previous());
    if (entry.group !== this.group || !follows || !entry.actor.equals(record.address)) {
      throw new InvalidMessage("the entry does not follow the log");
    }
    const { action, subject, actor } = entry;
    const founding = this.epoch === 0 && action === ADD && subject === actor.user;
    const sensible = action === (this.members.has(subject) ? REMOVE : ADD);
    if (!founding && !(this.members.has(actor.user) && sensible)) throw new NotAMember("the actor may not do that");
    await verify(record.signingKey, entry.signature, entry.signed());
    if (entry.sequence !== this.epoch + 1) throw new InvalidMessage("the log has moved on");
    this.entries.push(entry);
    if (action === ADD) this.members.add(subject);
    else {
      this.members.delete(subject);
      this.lastRemoval = entry.sequence;
    }
  }
}
