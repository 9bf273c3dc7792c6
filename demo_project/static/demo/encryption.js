// End-to-end encryption of the chats, where the server has mana_e2ee: which ones, what is sent how, what has changed.

import { toast } from "./dom.js";
import { Bar, Lock } from "./encryptionbar.js";
import { useDownload } from "./encryptionparts.js";

const KINDS = new Set(["direct", "group"]);
const PATIENCE = 5_000; // ms

export class Encryption {
  /** The EncryptedClient, or null where the site has none. */
  encrypted = null;
  #client;
  #store;
  #states = new Map(); // room id -> what roomState() said last
  #asked = new Map(); // room id -> promise
  #sending = Promise.resolve();
  #roomId = null;
  /** Opens the settings of encryption; set by the page. */
  onSettings = () => {};
  ownNews = false; // a device was added to the user's own account, and they have not looked
  news = new Map(); // room id -> {kind, userId}: what the user should know, until they put it away

  constructor(client, store) {
    this.#client = client;
    this.#store = store;
    this.lock = new Lock(this, store);
    this.bar = new Bar(this, store);
  }

  /** Before the client connects. */
  async start() {
    const url = document.body.dataset.encryptionUrl;
    if (!url || this.encrypted) return;
    const { EncryptedClient } = await import(url);
    const encrypted = new EncryptedClient(this.#client);
    await encrypted.start();
    this.encrypted = encrypted;
    useDownload((file) => encrypted.download(file));
    const store = this.#store;
    store.opened = (events) => encrypted.decorate(events);
    store.preview = (room) => this.#preview(room);
    store.ofSealed = (outgoing) => encrypted.eventOf(outgoing);
    store.isSealed = (roomId) => Boolean(this.#states.get(roomId)?.forever);
    encrypted.on("opened", (event) => store.openedNow(event));
    encrypted.on("status", ({ status }) => {
      document.body.dataset.encryption = status;
      if (status === "ready") this.#reload();
      this.#renew();
    });
    encrypted.on("history", () => this.#reload());
    encrypted.on("devices_changed", ({ userId, added }) => {
      if (!added.length) return;
      if (userId === this.#store.me.id) this.ownNews = true;
      else this.#note("devices", userId);
    });
    for (const type of ["devices_changed", "devices", "account_changed", "account_trusted", "verified", "group_changed"])
      encrypted.on(type, () => this.#renew());
    encrypted.on("list_refused", ({ userId }) => toast(`The server gave a list of ${this.nameOf(userId)}'s devices that can't be right. It was refused.`, "error"));
    encrypted.on("error", (error) => toast(`Encryption: ${error.message}`, "error"));
    navigator.storage?.persist?.().catch(() => {}); // or the browser may forget the keys when its disk is full
    this.#client.on("room", ({ room_id }) => this.#renew(room_id));
    this.#client.on("state", ({ state }) => state === "online" && this.#renew());
    document.body.dataset.encryption = encrypted.status;
  }

  /** The chat that is shown. */
  open(roomId) {
    this.#roomId = roomId;
    this.#show();
    if (roomId) this.refresh(roomId);
  }

  eligible(room) {
    return Boolean(this.encrypted) && KINDS.has(room.room_type) && (room.room_type === "direct" || room.is_private !== false);
  }

  /** What is known of a room: `roomState()` of the client, or why there is nothing. */
  state(roomId) {
    return this.#states.get(roomId);
  }

  /** For the keys of calls; undefined while this device can't encrypt. */
  get keyTransport() {
    return this.encrypted?.status === "ready" ? this.encrypted.keyTransport : undefined;
  }

  /** The same as `refresh`, but not before this device's keys are there, if they come soon. */
  async settled(roomId) {
    if (this.encrypted?.status === "starting") {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, PATIENCE);
        const stop = this.encrypted.on("status", () => {
          clearTimeout(timer);
          stop();
          resolve();
        });
      });
    }
    return this.refresh(roomId);
  }

  /** Ask anew. @returns {Promise<object | undefined>} */
  refresh(roomId) {
    const room = this.#store.rooms.get(roomId);
    if (!room || !room.role || !this.eligible(room)) return Promise.resolve(undefined);
    if (!this.#asked.has(roomId)) {
      const asked = this.encrypted
        .roomState(roomId)
        .then((state) => {
          const before = this.#states.get(roomId);
          this.#states.set(roomId, state);
          if (state.forever && !before?.forever) this.#store.changed(roomId);
          return state;
        })
        .catch(() => this.#states.get(roomId)) // out of reach: as it was
        .finally(() => {
          this.#asked.delete(roomId);
          if (roomId === this.#roomId) this.#show();
        });
      this.#asked.set(roomId, asked);
    }
    return this.#asked.get(roomId);
  }

  #renew(roomId) {
    if (roomId === undefined) for (const id of this.#states.keys()) if (id !== this.#roomId) this.#states.delete(id);
    if (this.#roomId && (roomId === undefined || roomId === this.#roomId)) {
      // What is being asked may be from before.
      const again = () => this.refresh(this.#roomId);
      const asked = this.#asked.get(this.#roomId);
      if (asked) asked.then(again);
      else again();
    }
    this.#show();
  }

  #show() {
    const room = this.#roomId ? this.#store.rooms.get(this.#roomId) : null;
    this.lock.show(room);
    this.bar.show(room);
  }

  /** Read what is shown again: more of it can be decrypted now. */
  async #reload() {
    for (const roomId of this.#store.rooms.keys()) {
      const thread = this.#store.thread(roomId);
      if (!thread.loaded) continue;
      const closed = thread.events.filter((event) => event.type === "message" && event.unreadable);
      const stored = closed.map(({ unreadable, ...event }) => ({ ...event, encrypted: true, payload: null }));
      for (const event of await this.encrypted.decorate(stored)) if (!event.unreadable) this.#store.openedNow(event);
    }
    await this.#store.loadRooms().catch(() => {});
  }

  async #preview(room) {
    const [last] = await this.encrypted.decorate([room.last_message]);
    return last.type === "message" && !last.unreadable ? last : ((await this.encrypted.latest(room.id)) ?? last);
  }

  #note(kind, userId) {
    for (const room of this.#store.rooms.values())
      if (String(room.peer?.user_id) === userId || this.#store.thread(room.id).members.has(userId)) this.news.set(room.id, { kind, userId });
  }

  // What the user does

  /** Encrypted where it can be. What was decided is shown by the lock. */
  send(roomId, message) {
    const room = this.#store.rooms.get(roomId);
    if (!this.eligible(room) || ["unsupported"].includes(this.encrypted.status)) return this.#plain(roomId, message);
    const state = this.#states.get(roomId);
    if (state) return this.#out(roomId, message, state);
    this.#sending = this.#sending
      .then(async () => {
        const found = await this.refresh(roomId);
        this.#out(roomId, message, found ?? { encrypted: true }); // unknown: it is encrypted, or fails
      })
      .catch((error) => toast(error.message, "error"));
    return undefined;
  }

  #out(roomId, message, state) {
    if (!state.encrypted) return this.#plain(roomId, message);
    const { text, mentions, reply_to, attachments } = message;
    const quoted = reply_to ? this.#store.thread(roomId).message(reply_to) : undefined;
    const files = attachments?.map((id) => this.#store.uploaded.get(id)).filter((file) => file?.encrypted);
    const kept = files?.map(({ id, pointer, name, type, size, width, height }) => ({ id, pointer, name, type, size, width, height }));
    const said = quoted?.ref ? { reply_to: quoted.ref } : { reply_plain: quoted?.id };
    const reply = quoted ? { ...said, reply_event: quoted.id } : {};
    return void this.encrypted.send({ room_id: roomId, text, mentions, ...reply, attachments: kept?.length ? kept : undefined });
  }

  #plain(roomId, { text, ...more }) {
    this.#client.send({ room_id: roomId, payload: { text }, ...more });
  }

  edit(event, text, mentions) {
    if (!event.encrypted) return this.#client.edit(event.id, { ...event.payload, text }, mentions);
    return this.encrypted.edit(event.room_id, event, text, mentions).acked;
  }

  react(event, emoji, { remove = false } = {}) {
    if (!event.encrypted) return this.#client.react(event.id, emoji, { remove });
    return this.encrypted.react(event.room_id, event, emoji, { remove }).acked;
  }

  remove(event) {
    const own = String(event.from) === this.#store.me.id;
    if (!event.encrypted || !own || !event.ref) return this.#client.deleteMessage(event.id);
    return this.encrypted.delete(event.room_id, event).acked;
  }

  async upload(roomId, file, options) {
    const room = this.#store.rooms.get(roomId);
    const state = this.#states.get(roomId) ?? (await this.refresh(roomId));
    if (!this.eligible(room) || (state && !state.encrypted)) return this.#client.upload(file, options);
    const done = await this.encrypted.upload(file, options);
    return { ...done, content_type: done.type, encrypted: true };
  }

  /** Messages with these words, of those that this device has. */
  async search(text) {
    return this.encrypted && this.encrypted.status !== "unsupported" ? this.encrypted.search(text, { limit: 20 }) : [];
  }

  nameOf(userId) {
    return this.#store.nameOf(userId);
  }
}
