// What a client writes down beside the core's keys, in the same store: history, what it has sent, what it waits for.
//
// The store is one database, so history and the core's inbox change in one transaction. Keys of rows:
// history   room / sequence          a message as it looks now: content, edits, reactions
// event     event id                 where its message is, or "" for what is none: the mark that it was handled
// content   room / from / id         the event id of a content, against replays under another event
// change    room / from / id         edits, deletions and reactions whose target has not come yet
// draft     content id               what this device is sending: content, frame
// sent      address / order          what was encrypted for a device, for retries
// held      event id                 frames that did not open
// gone      event id                 messages that were deleted before this device had them: their sender may send them again
// room, log, given, user, own        what is known of a room, its log, who has our sender key, of a user, of oneself

import { nextId } from "../tables.js";

export const SENT_AGE = 7 * 86_400_000; // ms
export const HELD_AT_MOST = 500;

const T = (name) => `client_${name}`;
const place = (sequence) => String(sequence).padStart(16, "0");
export const refKey = (room, { from, id }) => JSON.stringify([room, from, id]);

export class Vault {
  constructor(store) {
    this.store = store;
  }

  /** Several reads and writes at once. @param {(rows: Rows) => Promise<*>} work */
  transaction(work) {
    return this.store.transaction((tx) => work(new Rows(tx)));
  }

  get(table, key = "") {
    return this.transaction((rows) => rows.get(table, key));
  }

  put(table, key, value) {
    return this.transaction(async (rows) => rows.put(table, key, value));
  }

  delete(table, key) {
    return this.transaction(async (rows) => rows.delete(table, key));
  }

  scan(table, prefix = "") {
    return this.transaction((rows) => rows.scan(table, prefix));
  }

  /** Forget what is too old for a retry; what nobody has sent again by then is lost. */
  prune(now) {
    return this.transaction(async (rows) => {
      for (const table of ["sent", "draft", "gone"])
        for (const [key, row] of await rows.scan(table)) if (row.at + SENT_AGE < now) rows.delete(table, key);
      for (const [key, row] of await rows.scan("held")) if (row.at + SENT_AGE < now) await rows.giveUp(key);
    });
  }
}

class Rows {
  constructor(tx) {
    this.tx = tx;
  }

  get(table, key = "") {
    return this.tx.get(T(table), key);
  }

  put(table, key, value) {
    this.tx.put(T(table), key, value);
  }

  delete(table, key) {
    this.tx.delete(T(table), key);
  }

  scan(table, prefix = "") {
    return this.tx.scan(T(table), prefix);
  }

  /** The history row of an event. @returns {Promise<object | undefined>} */
  async byEvent(eventId) {
    const key = await this.get("event", eventId);
    return key ? this.get("history", key) : undefined;
  }

  /** An event that did not open is not waited for any more. */
  async giveUp(eventId) {
    this.delete("held", eventId);
    const row = await this.byEvent(eventId);
    if (row?.unreadable === "waiting") this.put("history", this.historyKey(row), { ...row, unreadable: "lost" });
  }

  historyKey({ room, sequence }) {
    return `${room}/${place(sequence)}`;
  }

  /** Write a history row, and where it is found. */
  keep(row) {
    const key = this.historyKey(row);
    this.put("history", key, row);
    this.put("event", row.message_id, key);
    if (row.id) this.put("content", refKey(row.room, row), row.message_id);
  }

  /** Remember what was encrypted for a device. */
  async remember(addressKey, hash, what, at) {
    const order = place(await nextId(this.tx, T("sent")));
    this.put("sent", `${addressKey}/${order}`, { hash, at, ...what });
  }
}
