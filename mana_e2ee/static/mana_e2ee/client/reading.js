// What this device has read before, for the page: events of REST, previews, words to look for.

import { eventOf } from "./history.js";

export class Reading {
  #context;
  #receiver;

  constructor(context, receiver) {
    this.#context = context;
    this.#receiver = receiver;
  }

  /** Events that REST gave, with what is known of them here; what was not opened yet is opened. */
  async decorate(events) {
    const { vault, address, exclusively } = this.#context;
    const found = await vault.transaction(async (rows) => {
      const all = [];
      for (const event of events) {
        const row = event.type === "message" ? await rows.byEvent(event.id) : undefined; // whatever the server calls it
        all.push(row ? { ...event, attachments: undefined, ...(await eventOf(rows, row, address.user)) } : event);
      }
      return all;
    });
    const opened = [];
    for (const event of found) {
      const closed = event.encrypted && event.type === "message" && !event.ref && !event.unreadable && !event.deleted;
      const told = closed ? (await exclusively(() => this.#receiver.open(event))).event : event;
      opened.push(told ?? { ...event, payload: null, unreadable: "missing" });
    }
    return opened;
  }

  /** The newest message of a room that can be read here, or null. */
  latest(room) {
    const { vault, address } = this.#context;
    return vault.transaction(async (rows) => {
      const all = await rows.scan("history", `${room}/`);
      const last = all.map(([, row]) => row).findLast((row) => row.kind === "text" || row.kind === "custom");
      return last ? eventOf(rows, last, address.user) : null;
    });
  }

  /** Messages with all these words, the newest first. */
  async search(text, { limit, roomId }) {
    const words = text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    const { vault, address } = this.#context;
    return vault.transaction(async (rows) => {
      const all = (await rows.scan("history", roomId ? `${roomId}/` : "")).map(([, row]) => row);
      const fits = (row) => row.kind === "text" && words.every((word) => row.text?.toLocaleLowerCase().includes(word));
      const found = all.filter(fits).sort((a, b) => b.sequence - a.sequence).slice(0, limit);
      return Promise.all(found.map((row) => eventOf(rows, row, address.user)));
    });
  }
}
