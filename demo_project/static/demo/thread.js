// What is known of one room's timeline: its loaded events in order, its members and how far each has read.

const PAGE = 50;

export class Thread {
  events = []; // ascending index
  members = new Map(); // user id -> member
  loaded = false;
  loading = false;
  hasMore = true;
  failed = null; // the error of the last attempt to load
  #ids = new Set();
  #running = null; // the newest page is on its way
  #turn = 0; // what was asked for before the last cut fits no more
  #underWay = new Set(); // of each page on its way: the changes that it may not know of
  #positions = new Map(); // user id -> {delivered, read}: indexes, which only move up
  #rest;
  #roomId;
  #opened;

  /** @param {(events: object[]) => Promise<object[]>} opened decrypts what the server gave */
  constructor(rest, roomId, opened) {
    this.#opened = opened;
    this.#rest = rest;
    this.#roomId = roomId;
  }

  /** @returns {boolean} whether it was new, or can be read now */
  add(event) {
    if (this.#ids.has(event.id)) {
      const known = this.message(event.id);
      if (!known?.unreadable || event.unreadable) return false;
      delete known.unreadable; // a page was ahead of the frame that held what it says
      Object.assign(known, event);
      return true;
    }
    this.#ids.add(event.id);
    let at = this.events.length;
    while (at > 0 && this.events[at - 1].index > event.index) at -= 1;
    this.events.splice(at, 0, event);
    return true;
  }

  /** @returns {object | undefined} the message with this id, as far as it is loaded */
  message(id) {
    return this.#ids.has(id) ? this.events.find((event) => event.id === id) : undefined;
  }

  /** Messages were changed: once more when a page comes that was read before. @param {() => void} change */
  again(change) {
    for (const changes of this.#underWay) changes.push(change);
  }

  /** Take a message out that the user deleted for themselves; its id stays known. */
  hide(id) {
    this.#ids.add(id);
    this.events = this.events.filter((event) => event.id !== id);
  }

  /** The newest page; again after a reset. Several calls at once become one. */
  load(atLeast = 0) {
    if (!this.#running) {
      const query = { limit: Math.min(200, Math.max(PAGE, atLeast + 10)) };
      const running = this.#fetch(query, () => (this.loaded = true)).finally(() => {
        if (this.#running === running) this.#running = null;
      });
      this.#running = running;
    }
    return this.#running;
  }

  async loadOlder() {
    if (this.loading || !this.hasMore || !this.events.length) return;
    await this.#fetch({ before: this.events[0].index, limit: PAGE });
  }

  async loadMembers() {
    const members = new Map();
    let path = `rooms/${this.#roomId}/members`;
    for (let pages = 0; path && pages < 5; pages += 1) {
      const page = await this.#rest.get(path);
      for (const member of page.results) members.set(String(member.user_id), member);
      path = page.next;
    }
    this.members = members;
    // A receipt may have come while this was under way, and be newer.
    for (const [userId, { delivered_index, read_index }] of members) {
      this.receipt(userId, "delivered", delivered_index ?? 0);
      this.receipt(userId, "read", read_index ?? 0);
    }
  }

  /** Somebody got or read everything up to `index`. */
  receipt(userId, status, index) {
    let position = this.#positions.get(userId);
    if (!position) this.#positions.set(userId, (position = { delivered: 0, read: 0 }));
    position.delivered = Math.max(position.delivered, index);
    if (status === "read") position.read = Math.max(position.read, index);
  }

  /** @returns {"sent" | "delivered" | "read"} what all the others have done with the event at `index` */
  statusOf(index, meId) {
    const others = [...this.members.keys()].filter((userId) => userId !== meId);
    const all = (status) => others.every((userId) => this.#positions.get(userId)[status] >= index);
    if (!others.length || !all("delivered")) return "sent";
    return all("read") ? "read" : "delivered";
  }

  /** Keep only the newest events of a chat that is no longer open. */
  trim() {
    if (this.events.length <= 2 * PAGE) return;
    this.#turn += 1;
    this.events = this.events.slice(-PAGE);
    this.#ids = new Set(this.events.map((event) => event.id));
    this.hasMore = true;
  }

  reset() {
    this.#turn += 1;
    this.#running = null;
    this.events = [];
    this.#ids.clear();
    this.#positions.clear();
    this.members.clear();
    this.loaded = false;
    this.hasMore = true;
  }

  async #fetch(query, done = () => {}) {
    const turn = this.#turn;
    const changes = [];
    this.#underWay.add(changes);
    this.loading = true;
    this.failed = null;
    try {
      const page = await this.#rest.get(`rooms/${this.#roomId}/messages`, query);
      const events = await this.#opened(page.results);
      if (turn !== this.#turn) return;
      for (const event of events) this.add(event);
      for (const change of changes) change();
      this.hasMore = page.previous !== null;
      done();
    } catch (error) {
      if (turn === this.#turn) this.failed = error;
    } finally {
      this.#underWay.delete(changes);
      this.loading = this.#underWay.size > 0;
    }
  }
}
