// Ciphertext on its way in: opened, written down in one transaction with the core's state, then acknowledged.

import { decrypt } from "../e2ee.js";
import { hex } from "../encoding.js";
import { GROUP_MESSAGE, RETRY_REQUEST } from "../envelope.js";
import { DuplicateMessage, E2EEError, NotAMember, Throttled, UntrustedIdentity } from "../errors.js";
import { sha256 } from "../primitives.js";
import { Address } from "../records.js";
import { INBOX } from "../tables.js";
import { checkedContent, decode, invalid, unb64 } from "./contents.js";
import { ClientError } from "./errors.js";
import { apply, eventOf, gone } from "./history.js";
import { HELD_AT_MOST } from "./vault.js";

const ACK_WAIT = 50; // ms in which acks become one frame
const HOLD = new Set(["account_changed", "list_refused"]);
const IN_THE_CLEAR = new Set(["message_edit", "reaction"]);
const MAY_OPEN = new Set(["untrusted_identity", "not_a_member", ...HOLD]); // later, without anybody's help
const isLost = (error) => error.code === "invalid_content" || [403, 404].includes(error.status); // also: of a room that was left

export class Receiver {
  #context;
  #parts;
  #acks = new Set();
  #ackTimer = null;
  #throttleTimer = null;

  /** @param {object} parts directory, rooms, sender, rosters, repair, and `onControl`: name -> handler */
  constructor(context, parts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Whether an event has to come through `open()`. */
  static covers({ type, encrypted }) {
    return type === "encrypted" || IN_THE_CLEAR.has(type) || (type === "message" && Boolean(encrypted));
  }

  /** Open one frame. @returns {Promise<{event: ?object, isNew: boolean}>} what the page is told in its place */
  async open(frame) {
    const { vault, address } = this.#context;
    const me = address.user;
    if (IN_THE_CLEAR.has(frame.type)) return { event: await this.#changeInTheClear(frame), isNew: true };
    const known = await vault.transaction(async (rows) => {
      const key = await rows.get("event", frame.id);
      if (key === undefined) return undefined;
      const row = await rows.byEvent(frame.id);
      return { event: row ? await eventOf(rows, row, me) : null, isNew: false };
    });
    if (known) {
      if (known.event?.ref) await this.#parts.rooms.encrypted(frame.room_id); // opened by another tab, it may be
      if (frame.payload) this.ack(frame.id);
      return known;
    }
    if (frame.deleted) return { event: frame, isNew: false };
    if (!frame.payload) return this.#withoutCiphertext(frame);
    try {
      const row = await this.#process(frame);
      this.ack(frame.id);
      const event = row ? await vault.transaction((rows) => eventOf(rows, row, me)) : null;
      return { event, isNew: true };
    } catch (error) {
      return this.#failed(frame, error);
    }
  }

  /** Nobody but the server can have made an edit of, or a reaction to, an encrypted message that is not encrypted itself. */
  async #changeInTheClear({ encrypted, ...frame }) {
    return (await this.#context.vault.get("event", frame.message_id)) ? null : frame;
  }

  /** Our own message, sent by another tab, or nothing that this device could read. */
  async #withoutCiphertext(frame) {
    const { vault, address } = this.#context;
    if (frame.type !== "message") return { event: null, isNew: false };
    const own = String(frame.from) === address.user && frame.device_id === address.device && frame.ack_id;
    const event = await vault.transaction(async (rows) => {
      const draft = own ? await rows.get("draft", frame.ack_id) : undefined;
      // The other tab may have written it down in this very moment.
      const row = draft && ((await apply(rows, draft.content, placeOf(frame))) ?? (await rows.byEvent(frame.id)));
      return row ? eventOf(rows, row, address.user) : null;
    });
    if (own) await this.#parts.rooms.encrypted(frame.room_id); // by another tab, it may be
    return { event: event ?? { ...frame, unreadable: "missing" }, isNew: Boolean(event) };
  }

  async #failed(frame, error) {
    const { vault, address, tell } = this.#context;
    const lost = isLost(error);
    const isOurs = error instanceof E2EEError || lost || HOLD.has(error.code);
    const shown = { ...frame, payload: null, unreadable: "waiting" };
    // Out of reach, or too many failures in a row: not acked, it comes again.
    if (error instanceof Throttled) this.#fetchIn(error.retryAfter);
    if (!isOurs || error instanceof Throttled) return { event: frame.type === "message" ? shown : null, isNew: false };
    await vault.transaction(async (rows) => {
      if (frame.type === "message") rows.keep({ ...rowOf(frame), unreadable: lost ? "invalid" : "waiting" });
      else rows.put("event", frame.id, "");
      if (!lost) rows.put("held", frame.id, { frame, code: error.code, at: Date.now() });
      const held = await rows.scan("held");
      for (const [key] of held.sort(([, a], [, b]) => a.at - b.at).slice(0, -HELD_AT_MOST)) await rows.giveUp(key);
    });
    this.ack(frame.id);
    tell("undecryptable", { messageId: frame.id, roomId: frame.room_id, from: frame.from, reason: error.code });
    if (!lost) await this.#parts.repair.ask(frame, error.code).catch(() => {}); // asked again at the next connect
    if (frame.type !== "message") return { event: null, isNew: true };
    const row = await vault.transaction((rows) => rows.byEvent(frame.id));
    return { event: await vault.transaction((rows) => eventOf(rows, row, address.user)), isNew: true };
  }

  /** Try what is held again. @param {(held: object) => boolean} [wanted] without it: what may open by now */
  async again(wanted = ({ code }) => MAY_OPEN.has(code)) {
    const { vault } = this.#context;
    const held = (await vault.scan("held")).map(([, row]) => row).filter(wanted);
    for (const { frame } of held.sort((a, b) => a.frame.sequence - b.frame.sequence)) {
      try {
        const opened = await this.#process(frame);
        await vault.delete("held", frame.id);
        if (opened) await this.#tellOpened(opened);
      } catch (error) {
        if (isLost(error)) await this.#lose(frame); // or else it goes on waiting
      }
    }
  }

  async #lose(frame) {
    await this.#context.vault.transaction(async (rows) => {
      rows.delete("held", frame.id);
      if (frame.type === "message") rows.keep({ ...rowOf(frame), unreadable: "invalid" });
    });
  }

  /** An address may try again in so many seconds: what is not acked comes again then. */
  #fetchIn(seconds) {
    if (this.#throttleTimer) return;
    this.#throttleTimer = setTimeout(() => {
      this.#throttleTimer = null;
      this.fetchWaiting((event) => this.#context.tell("opened", event)).catch(() => {}); // at the next connect
    }, seconds * 1000);
    this.#throttleTimer.unref?.();
  }

  async #tellOpened(row) {
    const { vault, address, tell } = this.#context;
    tell("opened", await vault.transaction(async (rows) => eventOf(rows, (await rows.byEvent(row.message_id)) ?? row, address.user)));
  }

  /** Decrypt a frame and do what it says. @returns {Promise<object | null>} the history row of a message */
  async #process(frame) {
    const sender = new Address(String(frame.from), frame.device_id);
    const bytes = unb64(frame.payload);
    const control = frame.type === "encrypted";
    if (control && bytes[1] === RETRY_REQUEST) {
      await this.#parts.repair.answer(sender, bytes).catch(ignoreRefusals);
      await this.#context.vault.put("event", frame.id, "");
      return null;
    }
    const { id, plaintext } = await this.#decrypt(sender, bytes, frame);
    const done = (rows) => rows.tx.delete(INBOX, hex(id));
    try {
      const said = decode(plaintext);
      await this.#checkOwn(sender, said);
      if (control) {
        await this.#control(frame, sender, said);
        await this.#context.vault.transaction(async (rows) => {
          rows.put("event", frame.id, "");
          done(rows);
        });
        return null;
      }
      const content = checkedContent(said, frame.room_id, sender);
      await this.#checkBelongs(frame.room_id, sender, content);
      const row = await this.#context.vault.transaction(async (rows) => {
        done(rows);
        return apply(rows, content, placeOf(frame));
      });
      await this.#parts.rooms.encrypted(frame.room_id);
      return row;
    } catch (error) {
      if (isLost(error)) await this.#context.vault.transaction(async (rows) => done(rows));
      throw error;
    }
  }

  async #decrypt(sender, bytes, frame) {
    const { store, address } = this.#context;
    const { directory } = this.#parts;
    const isOther = sender.user !== address.user;
    // Nobody writes to a device that is not linked but who was told to, and whom to believe it learns by being linked.
    if (isOther && !(await directory.isListed())) throw new UntrustedIdentity("this device is not linked");
    if (isOther && !(await directory.current(sender.user))) {
      await directory.refresh(sender.user);
      // The server lets nobody write who has no list; the core would trust whoever that is on first use.
      if (!(await directory.current(sender.user))) throw new UntrustedIdentity("no device list vouches for this device");
    }
    const attempt = async () => {
      if (bytes[1] !== GROUP_MESSAGE) return decrypt(store, sender, bytes);
      if (frame.type === "encrypted") throw invalid("a group message is none for control");
      const group = await this.#parts.sender.group(frame.room_id);
      if (!group) throw new NotAMember("the members are not known");
      return group.decrypt(sender, bytes);
    };
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof UntrustedIdentity && !sender.equals(address) && (await directory.current(sender.user))) {
        await directory.refresh(sender.user);
        return attempt();
      }
      if (!(error instanceof DuplicateMessage)) throw error;
      // Interrupted by a crash, or kept because what it needs was not there yet: its plaintext is still in the inbox.
      const id = await sha256(bytes);
      const kept = await store.transaction((tx) => tx.get(INBOX, hex(id)));
      if (!kept || kept.address.user !== sender.user || kept.address.device !== sender.device) throw error;
      return kept;
    }
  }

  /** A device of our own user that nothing vouches for may do one thing: link this one, which takes a proof. */
  async #checkOwn(sender, said) {
    const own = this.#context.address.user;
    if (sender.user !== own || said.control === "account") return;
    const list = await this.#parts.directory.current(own);
    if (!list?.devices.some((record) => record.address.equals(sender))) throw invalid("it is not from a device of our own");
  }

  /** Whether the sender belongs into the room; a log that is ahead of ours is asked for. */
  async #checkBelongs(room, sender, content) {
    const { address } = this.#context;
    const { kind, peer } = await this.#parts.rooms.info(room);
    if (kind === "direct") {
      if (sender.user !== address.user && sender.user !== peer) throw invalid("it is from somebody who is not in this chat");
      return;
    }
    const log = await this.#parts.rosters.log(room);
    if (!log?.members.has(sender.user)) throw new NotAMember("not a member of the group");
    if (content.log && log.epoch < content.log.sequence) await this.#parts.repair.askForLog(room, sender).catch(() => {});
  }

  async #control(frame, sender, said) {
    const handler = Object.hasOwn(this.#parts.onControl, said.control) ? this.#parts.onControl[said.control] : undefined;
    if (said.control === "resend") return this.#resent(frame, sender, said);
    if (!handler) throw invalid("written by a newer version");
    if (said.room !== undefined && said.room !== frame.room_id) throw invalid("it belongs to another room");
    return handler({ frame, sender, said });
  }

  /** Something that did not open is said again. */
  async #resent(frame, sender, { message_id, content }) {
    if (!content || typeof content !== "object") throw invalid("nothing was sent again");
    if (content.control !== undefined) {
      if (content.control === "resend") throw invalid("a resend of a resend");
      return this.#control({ ...frame, room_id: frame.room_id ?? content.room }, sender, content);
    }
    checkedContent(content, content.room, sender);
    await this.#checkBelongs(content.room, sender, content);
    const { vault } = this.#context;
    const [held, there, isGone] = message_id
      ? await vault.transaction(async (rows) => [await rows.get("held", message_id), await rows.byEvent(message_id), await rows.get("gone", message_id)])
      : [];
    if (isGone || (there?.deleted && there.room === content.room)) return undefined; // while it could not be opened
    const fits = held && String(held.frame.from) === sender.user && held.frame.room_id === content.room;
    const row = await vault.transaction(async (rows) => {
      const applied = await apply(rows, content, placeOf(fits ? held.frame : { ...frame, index: undefined, timestamp: new Date(content.at * 1000).toISOString() }));
      if (fits) rows.delete("held", message_id);
      return applied;
    });
    await this.#parts.rooms.encrypted(content.room);
    if (row) await this.#tellOpened(row);
    return undefined;
  }

  /** The server deleted a message for everybody. */
  async deleted(messageId, roomId) {
    const mayComeAgain = await this.#parts.rooms.isEncrypted(roomId);
    await this.#context.vault.transaction(async (rows) => {
      const row = await rows.byEvent(messageId);
      if (row && !row.deleted) rows.put("history", rows.historyKey(row), gone(row));
      if (!row && mayComeAgain) rows.put("gone", messageId, { at: Date.now() });
      rows.delete("held", messageId);
    });
  }

  /** What this device has, whatever the cursor says. @param {(event: object) => void} onNew */
  async fetchWaiting(onNew) {
    const { rest, address } = this.#context;
    const path = `e2ee/devices/${encodeURIComponent(address.device)}`;
    for (;;) {
      const { messages, has_more } = await rest.get(`${path}/envelopes`);
      const before = new Set();
      for (const frame of messages) {
        const { event, isNew } = await this.#context.exclusively(() => this.open(frame));
        if (this.#acks.has(frame.id)) before.add(frame.id);
        if (event && isNew) onNew(event);
      }
      if (!before.size) return;
      await rest.post(`${path}/acks`, { message_ids: [...before] });
      for (const id of before) this.#acks.delete(id);
      if (!has_more) return;
    }
  }

  ack(id) {
    this.#acks.add(id);
    this.#ackTimer ??= setTimeout(() => {
      this.#ackTimer = null;
      const ids = [...this.#acks].slice(0, 500);
      if (!ids.length || !this.#context.client.signal({ type: "encrypted_ack", message_ids: ids })) return;
      for (const one of ids) this.#acks.delete(one);
    }, ACK_WAIT);
  }
}

const placeOf = ({ id, sequence, index, timestamp, username }) => ({ message_id: id, sequence, index, timestamp, username });

const rowOf = ({ room_id, from, device_id, ...frame }) => ({ ...placeOf(frame), room: room_id, from: String(from), device: device_id, kind: "text" });

function ignoreRefusals(error) {
  if (!(error instanceof E2EEError) && !(error instanceof ClientError)) throw error;
}

