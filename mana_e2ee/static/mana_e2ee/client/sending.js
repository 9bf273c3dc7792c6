// Messages on their way out: for every device of everybody, pairwise or under a sender key.

import { GroupSession, encryptMany } from "../e2ee.js";
import { hex } from "../encoding.js";
import { RotationNeeded } from "../errors.js";
import { sha256 } from "../primitives.js";
import { b64, checkedContent, control, encode } from "./contents.js";
import { ClientError } from "./errors.js";

const PAIRWISE = 16; // devices up to which each gets a ciphertext of its own
const GROWTH = 1.34; // bytes of base64 per byte
const FIRST = 1_400; // bytes that a first message is longer, at most

export class Sender {
  #context;
  #directory;
  #rooms;
  #controls;

  constructor(context, directory, rooms, controls) {
    Object.assign(this, { pairwise: PAIRWISE });
    this.#context = context;
    this.#directory = directory;
    this.#rooms = rooms;
    this.#controls = controls;
  }

  /** The frame of an outgoing message: the same one at every attempt, until it was refused or answered. */
  async seal({ ack_id: id, room_id: room, payload }) {
    const { vault, address } = this.#context;
    const draft = await vault.get("draft", id);
    if (draft?.frame) return draft.frame;
    const audience = await this.#rooms.audience(room);
    const now = Math.floor(Date.now() / 1000);
    const content = { v: 1, ...payload, room, from: address.user, device: address.device, id, at: draft?.content.at ?? now };
    const last = audience.log?.entries.at(-1);
    if (last) content.log = { sequence: last.sequence, hash: b64(await last.hash()) };
    checkedContent(content, room, address);
    const bytes = encode(content);
    const { addresses, epochs } = audience;
    const frame = { type: "encrypted_fanout", room_id: room, epochs, ack_id: id };
    if (content.attachments?.length) frame.attachments = content.attachments.map((file) => file.id);
    const size = addresses.length * (bytes.length + FIRST) * GROWTH;
    const keep = [];
    if (addresses.length <= this.pairwise && size < this.#controls.most) {
      await this.#directory.sessions(addresses);
      const messages = await encryptMany(this.#context.store, addresses, bytes);
      frame.payloads = {};
      for (const [index, one] of addresses.entries()) {
        (frame.payloads[one.user] ??= {})[one.device] = b64(messages[index]);
        keep.push([one.key, hex(await sha256(messages[index]))]);
      }
    } else frame.payload = b64(await this.#underSenderKey(room, audience, bytes));
    await vault.transaction(async (rows) => {
      const at = Date.now();
      rows.put("draft", id, { content, frame, at, to: addresses.map((one) => one.key) });
      for (const [key, hash] of keep) await rows.remember(key, hash, { draft: id, room }, at);
    });
    await this.#rooms.encrypted(room);
    return frame;
  }

  /** The server knows other devices: forget what was made for those known before. */
  async refused({ ack_id, room_id }) {
    const draft = await this.#context.vault.get("draft", ack_id);
    if (draft) await this.#context.vault.put("draft", ack_id, { ...draft, frame: undefined });
    this.#directory.forgetRooms(room_id);
  }

  /** The core's group of a room. A direct room has its two users. */
  async group(room) {
    const { store, address } = this.#context;
    const { kind, peer } = await this.#rooms.info(room);
    if (kind !== "direct") {
      const log = await this.#rooms.log(room);
      return log && new GroupSession(store, log);
    }
    return new GroupSession(store, { group: room, members: new Set([address.user, peer]), epoch: 0, lastRemoval: 0 });
  }

  async #underSenderKey(room, { addresses }, bytes) {
    const group = await this.group(room);
    let distribution;
    try {
      distribution = await group.distribution();
    } catch (error) {
      if (!(error instanceof RotationNeeded)) throw error;
      distribution = await group.rotate();
    }
    await this.give(room, distribution, addresses);
    return group.encrypt(bytes);
  }

  /** Send our sender key to the devices that do not hold it. */
  async give(room, distribution, addresses) {
    const { vault } = this.#context;
    const id = hex(distribution.id);
    const given = await vault.get("given", room);
    const holders = new Set(given?.id === id ? given.holders : []);
    const lacking = addresses.filter((one) => !holders.has(one.key));
    if (!lacking.length) return;
    await this.#controls.send(control("sender_key", { room, distribution: b64(distribution.toBytes()) }), lacking, { room });
    for (const one of lacking) holders.add(one.key);
    await vault.put("given", room, { id, holders: [...holders] });
  }

  /** Give the sender key again to somebody who has lost it. */
  async giveAgain(room, address) {
    const group = await this.group(room);
    const audience = await this.#rooms.audience(room);
    if (!group || !audience.addresses.some((one) => one.equals(address)))
      throw new ClientError("not_found", "They are no member's device.");
    const distribution = await group.distribution();
    await this.#controls.send(control("sender_key", { room, distribution: b64(distribution.toBytes()) }), [address], { room });
  }
}
