// The state of the page: rooms, people, threads. Fed by the client's events and REST, watched by the views.

import { applyChange } from "./changes.js";
import { setPicture, soon, toast } from "./dom.js";
import { Thread } from "./thread.js";

const LIST_PAGE = 100;

/**
 * Events: `rooms` (the list or something in it), `thread` (detail: room id; its log, members or receipts), `typing`
 * (room id), `gone` ({room, reason}: no longer a member).
 */
export class Store extends EventTarget {
  rooms = new Map();
  invitations = []; // rooms that wait for an answer
  people = new Map(); // user id -> {username, display_name, online, last_seen}
  uploaded = new Map(); // attachment id -> what the server said of it, for messages that are under way
  typing = new Map(); // room id -> Map(user id -> name)
  loaded = false;
  failed = null;
  /** @type {(roomId: string) => boolean} whether the user is looking at the end of this room; set by the chat view */
  isViewing = () => false;
  /** @type {(roomId: string) => boolean} whether a room is encrypted for ever; set by the encryption */
  isSealed = () => false;
  /** @type {(events: object[]) => Promise<object[]>} decrypts what REST gave; set by the encryption */
  opened = async (events) => events;
  /** @type {(room: object) => Promise<object>} the message that a chat's preview shows */
  preview = async (room) => room.last_message;
  #client;
  #threads = new Map();
  #fetching = new Map();
  #told = 0; // presences that were told
  #presenceTold = new Map(); // user id -> the number of the newest
  #changedThreads = new Set();
  #announceRooms = soon(() => this.#emit("rooms"));
  #announceThreads = soon(() => {
    const ids = [...this.#changedThreads];
    this.#changedThreads.clear();
    for (const id of ids) this.#emit("thread", id);
  });

  constructor(client, me) {
    super();
    this.#client = client;
    this.me = me;
    client.on("message", (event) => this.#message(event));
    client.on("room", (event) => this.#roomEvent(event));
    for (const type of ["message_edit", "message_delete", "reaction"])
      client.on(type, (event) => this.#messageChanged(event));
    client.on("warning", ({ text }) => toast(text, "error"));
    client.on("outgoing", (outgoing) => this.#outgoing(outgoing));
    client.on("receipt", (frame) => this.#receipt(frame));
    client.on("typing", (frame) => this.#typing(frame));
    client.on("presence", (frame) => this.#presence(frame));
    client.on("profile", ({ person }) => this.#profile(person));
    client.on("reset", () => this.#reset());
  }

  on(type, listener) {
    this.addEventListener(type, (event) => listener(event.detail));
  }

  /** @returns {object[]} newest activity first */
  sorted() {
    return [...this.rooms.values()].sort(
      (a, b) =>
        Boolean(b.preferences?.pinned) - Boolean(a.preferences?.pinned) ||
        (b.last_sequence ?? 0) - (a.last_sequence ?? 0) ||
        a.name.localeCompare(b.name),
    );
  }

  thread(roomId) {
    let thread = this.#threads.get(roomId);
    if (!thread) this.#threads.set(roomId, (thread = new Thread(this.#client.rest, roomId, (events) => this.opened(events))));
    return thread;
  }

  /** Messages of ours in this room that the server does not have yet. */
  outgoing(roomId) {
    return this.#client.outgoing.filter((message) => message.room_id === roomId && !isChange(message));
  }

  nameOf(userId, fallback = "") {
    const person = this.people.get(String(userId));
    return person?.display_name || person?.username || fallback || "Somebody";
  }

  /** What REST says of somebody, who was asked for when `since` presences had been told: a newer one holds. */
  #asTold(person, since) {
    const key = String(person.user_id ?? person.id);
    if (!(this.#presenceTold.get(key) > since)) return person;
    const { online, last_seen } = this.people.get(key);
    return { ...person, online, last_seen };
  }

  remember(people) {
    for (const { user_id, id, username, display_name, online, last_seen, avatar_url } of people) {
      const key = String(user_id ?? id);
      if (avatar_url !== undefined) setPicture(key, avatar_url);
      const known = this.people.get(key) ?? {};
      const news = { username, display_name, online, last_seen };
      for (const [field, value] of Object.entries(news)) if (value !== undefined) known[field] = value;
      this.people.set(key, known);
    }
  }

  get unread() {
    let count = 0;
    for (const room of this.rooms.values()) count += room.unread || 0;
    return count;
  }

  /**
   * Load the list of chats, or bring it up to date.
   * @returns {Promise<number>} the highest sequence that it reflects
   */
  async loadRooms() {
    this.failed = null;
    try {
      let path = "rooms";
      let query = { limit: LIST_PAGE };
      const before = new Set(this.rooms.keys());
      const newest = this.#newest();
      const found = new Set();
      for (let pages = 0; path && pages < 10; pages += 1) {
        const since = this.#told;
        const page = await this.#client.rest.get(path, query);
        for (const room of page.results) {
          if (room.last_message?.encrypted) room.last_message = await this.preview(room);
          found.add(room.id);
          if (!before.has(room.id) || this.rooms.has(room.id)) this.put(room, since); // else left meanwhile
        }
        [path, query] = [page.next, undefined];
      }
      // What was written in meanwhile may have moved to a page that was here already.
      const isOld = (id) => !(this.rooms.get(id)?.last_sequence > newest);
      if (!path) for (const id of before) if (!found.has(id) && isOld(id)) this.rooms.delete(id);
      this.loaded = true;
    } catch (error) {
      this.failed = error;
      throw error;
    } finally {
      this.#announceRooms();
    }
    return this.#newest();
  }

  #newest() {
    return Math.max(0, ...[...this.rooms.values()].map((room) => room.last_sequence ?? 0));
  }

  /** Take a room as the server has it, unless events have told us of something newer. */
  put(room, since = Infinity) {
    if (room.peer) this.remember([(room.peer = this.#asTold(room.peer, since))]);
    const known = this.rooms.get(room.id);
    const newer = {};
    if (known?.last_sequence > room.last_sequence) {
      const { last_message, last_sequence, last_index, unread, unread_mentions, name, topic, is_private, avatar, muted_until } = known;
      Object.assign(newer, { last_message, last_sequence, last_index, unread, unread_mentions });
      Object.assign(newer, { name, topic, is_private, avatar, muted_until, role: known.role || room.role });
    }
    if (known?.read_index > room.read_index) {
      // Read here, and the server has not heard of it yet.
      const { read_index, last_index } = { ...room, ...newer, read_index: known.read_index };
      Object.assign(newer, { read_index, unread: Math.min(newer.unread ?? room.unread, last_index - read_index) });
    }
    this.rooms.set(room.id, Object.assign(known ?? {}, room, newer));
    // What came while this device was away will not come as an event: the list has told of it.
    if (room.unread && room.role) this.#client.markDelivered(room.id, room.last_sequence);
    this.#announceRooms();
    return this.rooms.get(room.id);
  }

  /** Fetch one room, e.g. after a first event from it. Several calls at once become one. */
  fetchRoom(roomId) {
    if (!this.#fetching.has(roomId)) {
      const [known, since] = [this.rooms.has(roomId), this.#told];
      const fetching = this.#client.rest
        .get(`rooms/${roomId}`)
        .then(async (room) => {
          if (room.last_message?.encrypted) room.last_message = await this.preview(room);
          return known && !this.rooms.has(roomId) ? room : this.put(room, since); // the former was left meanwhile
        })
        .finally(() => this.#fetching.delete(roomId));
      this.#fetching.set(roomId, fetching);
    }
    return this.#fetching.get(roomId);
  }

  async loadThread(roomId) {
    const thread = this.thread(roomId);
    const work = [];
    if (!thread.loaded) work.push(thread.load(this.rooms.get(roomId)?.unread));
    work.push(this.loadMembers(roomId).catch(() => {})); // without it the ticks stay at "sent"
    this.changed(roomId);
    await Promise.all(work);
    this.changed(roomId);
  }

  async loadOlder(roomId) {
    const work = this.thread(roomId).loadOlder();
    this.changed(roomId);
    await work;
    this.changed(roomId);
  }

  async loadMembers(roomId) {
    const thread = this.thread(roomId);
    const since = this.#told;
    await thread.loadMembers();
    for (const [id, member] of thread.members) thread.members.set(id, this.#asTold(member, since));
    this.remember(
      [...thread.members.values()].map(({ user_id, username, display_name, online, last_seen, avatar_url }) => ({
        user_id,
        username,
        display_name,
        online,
        last_seen,
        avatar_url,
      })),
    );
    this.changed(roomId);
  }

  /** The user has seen everything in the room. */
  markRead(roomId) {
    const room = this.rooms.get(roomId);
    if (!room || !(room.last_sequence > 0) || !room.role) return;
    this.#client.markRead(roomId, room.last_sequence);
    room.read_index = Math.max(room.read_index ?? 0, room.last_index ?? 0);
    room.unread_mentions = 0;
    if (room.unread) {
      room.unread = 0;
      this.#announceRooms();
    }
  }

  changed(roomId) {
    this.#changedThreads.add(roomId);
    this.#announceThreads();
  }

  forget(roomId, reason) {
    const room = this.rooms.get(roomId);
    if (!room) return;
    this.rooms.delete(roomId);
    this.#threads.delete(roomId);
    this.#announceRooms();
    this.#emit("gone", { room, reason });
  }

  #message(event) {
    this.remember([{ user_id: event.from, username: event.username }]);
    const room = this.#place(event);
    this.#wrote(event);
    if (String(event.from) === this.me.id) return;
    // Even when it is no news to the list, which may have been loaded meanwhile.
    if (this.isViewing(event.room_id)) {
      this.markRead(event.room_id);
    } else if (room) {
      room.unread = (room.unread || 0) + 1;
      if (mentions(event, this.me.id)) room.unread_mentions = (room.unread_mentions || 0) + 1;
    }
  }

  /** Who writes in a room has read it: the server moves their position without a receipt. */
  #wrote(event) {
    const userId = String(event.from);
    this.thread(event.room_id).receipt(userId, "read", event.index);
    const room = this.rooms.get(event.room_id);
    if (userId !== this.me.id || !room || room.read_index >= event.index) return;
    Object.assign(room, { read_index: event.index, unread: 0 });
    this.#announceRooms();
  }

  /** Put an event into its room and thread. @returns {object | undefined} the room, when it is known and this is news */
  #place(event) {
    const room = this.rooms.get(event.room_id);
    if (this.thread(event.room_id).add(event)) this.changed(event.room_id);
    if (!room) {
      const shown = (fetched) => {
        if (event.type === "room" && !(fetched.last_event?.sequence > event.sequence)) fetched.last_event = event;
        this.#announceRooms();
      };
      this.fetchRoom(event.room_id).then(shown, () => {}); // refused: not ours any more
      return undefined;
    }
    if (event.sequence <= room.last_sequence) return undefined;
    room.last_sequence = event.sequence;
    room.last_index = event.index;
    if (event.type === "message") room.last_message = event;
    else room.last_event = event;
    this.#announceRooms();
    return room;
  }

  /** A message was edited, deleted or reacted to. What is for this user alone has no index in the room. */
  #messageChanged(event) {
    const room = this.rooms.get(event.room_id);
    const thread = this.thread(event.room_id);
    if (event.index !== undefined) thread.add(event);
    applyChange(thread, room, event, this.me.id);
    thread.again(() => applyChange(thread, undefined, event, this.me.id));
    if (event.payload === undefined && event.type === "message_edit" && !event.encrypted) this.#refetch(event);
    this.changed(event.room_id);
    if (!room) return;
    if (event.index !== undefined && event.sequence > room.last_sequence)
      Object.assign(room, { last_sequence: event.sequence, last_index: event.index });
    if (event.type === "message_delete" && event.scope === "me" && room.last_message === null)
      this.fetchRoom(event.room_id).catch(() => {});
    if (this.isViewing(event.room_id) && event.index !== undefined) this.markRead(event.room_id);
    this.#announceRooms();
  }

  /** What a message says that is older than some members of its room may know. */
  #refetch(event) {
    const shown = (message) => {
      const thread = this.thread(event.room_id);
      const change = { ...event, ...pick(message) };
      applyChange(thread, this.rooms.get(event.room_id), change, this.me.id);
      thread.again(() => applyChange(thread, undefined, change, this.me.id));
      this.changed(event.room_id);
    };
    this.#client.rest.get(`messages/${event.message_id}`).then(shown, () => {}); // refused: from before our time
  }

  #roomEvent(event) {
    if (event.index === undefined) {
      this.#personal(event);
      return;
    }
    this.remember((event.members ?? []).map(({ user_id, username }) => ({ user_id, username })));
    const aboutMe = event.members?.find((member) => String(member.user_id) === this.me.id);
    if (event.action === "deleted" || (aboutMe && ["left", "removed", "banned"].includes(event.action))) {
      this.forget(event.room_id, event.action);
      return;
    }
    this.#place(event);
    if (aboutMe && this.invitations.some((one) => one.id === event.room_id)) this.loadInvitations();
    const room = this.rooms.get(event.room_id);
    if (!room) return;
    if (event.room && room.room_type !== "direct") {
      const { name, topic = "", is_private } = event.room;
      Object.assign(room, { name, topic, is_private });
    }
    if (event.room) room.avatar = event.room.avatar ?? null;
    if (aboutMe?.role && event.action === "role") room.role = aboutMe.role;
    if (aboutMe && event.action === "muted") room.muted_until = event.until;
    if (aboutMe && event.action === "unmuted") room.muted_until = null;
    if (event.action !== "updated" && event.action !== "created") {
      if (this.thread(event.room_id).members.size) this.loadMembers(event.room_id).catch(() => {});
      this.fetchRoom(event.room_id).catch(() => {}); // the number of members
    }
  }

  /** What this user alone is told of a room: an invitation, or what they have changed on another device. */
  #personal(event) {
    const room = this.rooms.get(event.room_id);
    if (event.action === "preferences" && room) room.preferences = event.preferences;
    if (event.action === "invited") toast(`You are invited to “${event.room.name}”.`);
    if (event.action !== "preferences") this.loadInvitations();
    this.#announceRooms();
  }

  async loadInvitations() {
    const page = await this.#client.rest.get("invitations").catch(() => null);
    if (page) this.invitations = page.results;
    this.#announceRooms();
  }

  #outgoing(outgoing) {
    if (outgoing.status === "sent" && outgoing.sealed) {
      this.#sentSealed(this.ofSealed(outgoing));
    } else if (outgoing.status === "sent") {
      const { message_id: id, sequence, index, room_id, timestamp } = outgoing.ack;
      const { ack_id, payload, reply_to, mentions } = outgoing;
      const attachments = outgoing.attachments?.map((fileId) => this.uploaded.get(fileId)).filter(Boolean);
      const event = {
        type: "message",
        id,
        sequence,
        index,
        room_id,
        from: this.me.id,
        username: this.me.username,
        payload,
        timestamp,
        reply_to,
        mentions,
        attachments,
        ack_id,
      };
      this.#place({ ...event, key: ack_id });
      this.#wrote(event);
    }
    if (outgoing.room_id) this.changed(outgoing.room_id);
    this.#announceRooms();
  }

  /** @type {(outgoing: object) => object} what a sealed message is, once sent; set by the encryption */
  ofSealed = (outgoing) => outgoing;

  #sentSealed(event) {
    event.username = this.me.username;
    if (event.type === "message") {
      this.#place({ ...event, key: event.ack_id });
    } else {
      if (event.type === "reaction") {
        const known = this.thread(event.room_id).message(event.message_id)?.reactions?.find((one) => one.emoji === event.emoji);
        const others = (known?.user_ids ?? []).filter((id) => String(id) !== this.me.id).length;
        event.count = others + (event.remove ? 0 : 1);
      }
      this.#messageChanged(event);
    }
    this.#wrote(event);
  }

  /** What could not be read before, or came while this page was away, is there now. */
  openedNow(event) {
    const thread = this.thread(event.room_id);
    if (event.type !== "message") {
      const closed = thread.message(event.id); // it had a bubble as long as nobody knew what it was
      if (closed) Object.assign(closed, event, { unreadable: undefined });
      this.#messageChanged(event);
      return;
    }
    const room = this.rooms.get(event.room_id);
    for (const known of new Set([thread.message(event.id), room?.last_message?.id === event.id ? room.last_message : null])) {
      if (!known) continue;
      delete known.unreadable;
      Object.assign(known, event);
    }
    if (event.index !== undefined) this.#place(event);
    this.changed(event.room_id);
    this.#announceRooms();
  }

  #receipt(frame) {
    const userId = String(frame.from);
    this.thread(frame.room_id).receipt(userId, frame.status, frame.index);
    this.changed(frame.room_id);
    const room = this.rooms.get(frame.room_id);
    if (userId !== this.me.id || frame.status !== "read" || !room) return;
    room.read_index = Math.max(room.read_index ?? 0, frame.index); // read on another device
    if (frame.index >= room.last_index) room.unread = 0;
    this.#announceRooms();
  }

  #typing(frame) {
    const userId = String(frame.from);
    if (userId === this.me.id) return;
    let typers = this.typing.get(frame.room_id);
    if (!typers) this.typing.set(frame.room_id, (typers = new Map()));
    if (frame.active) typers.set(userId, this.nameOf(userId, frame.username));
    else typers.delete(userId);
    this.#emit("typing", frame.room_id);
    this.#announceRooms();
  }

  #presence(frame) {
    const { user_id, username, online, last_seen } = frame;
    this.#presenceTold.set(String(user_id), (this.#told += 1));
    this.remember([{ user_id, username, online: Boolean(online), last_seen }]);
    for (const room of this.rooms.values()) {
      if (String(room.peer?.user_id) === String(user_id))
        Object.assign(room.peer, { online: Boolean(online), last_seen: last_seen ?? room.peer.last_seen });
    }
    for (const [roomId, thread] of this.#threads) {
      const member = thread.members.get(String(user_id));
      if (!member) continue;
      Object.assign(member, { online: Boolean(online), last_seen: last_seen ?? member.last_seen });
      this.changed(roomId);
    }
    this.#announceRooms();
  }

  /** Somebody has a new name or picture, or is gone. */
  #profile({ user_id, username, display_name = "", avatar_url = null, deleted = false }) {
    const id = String(user_id);
    this.remember([{ user_id, username, display_name, avatar_url }]);
    const name = deleted ? "Deleted account" : display_name || username;
    if (id === this.me.id) this.me.username = username;
    for (const room of this.rooms.values()) {
      if (String(room.peer?.user_id) !== id || room.room_type !== "direct") continue;
      Object.assign(room.peer, { username, display_name, avatar_url });
      room.name = name;
    }
    for (const [roomId, thread] of this.#threads) {
      const member = thread.members.get(id);
      if (member) Object.assign(member, { username, display_name, avatar_url });
      this.changed(roomId);
    }
    this.#announceRooms();
  }

  #reset() {
    for (const [roomId, thread] of this.#threads) {
      thread.reset();
      this.changed(roomId);
    }
    this.rooms.clear();
    this.loadRooms().catch(() => {});
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function mentions(event, meId) {
  return event.mentions?.includes(meId) || event.mentions?.includes("@all");
}

/** An edit, deletion or reaction on its way: it has no bubble of its own. */
function isChange(outgoing) {
  return Boolean(outgoing.sealed) && !["text", "custom"].includes(outgoing.payload.kind);
}

function pick({ payload, edited_at }) {
  return { payload, edited_at };
}
