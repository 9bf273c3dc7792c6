/**
 * people.js: the user's own account, contacts, preferences and notifications, for a page that uses mana.js.
 *
 *     import { ManaClient } from "/static/mana/mana.js";
 *     import { People } from "/static/mana/people.js";
 *
 *     const client = new ManaClient();
 *     const people = new People(client);
 *     people.on("unread", ({ unread }) => (bell.textContent = unread));
 *     await people.start(); // then client.connect()
 *     await people.block(userId);
 *
 * ## Events
 *
 * - `unread` {unread}: how many notifications the user has not read
 * - `notification`: one that has just come; `notifications`: they were read or removed, here or on another device
 * - `contacts` {action, person}: contacts, requests or blocks changed
 * - `preferences` {key, value}: a choice, made here or on another device
 * - `person` {person}: somebody's profile changed; the user's own as well
 */

export class People extends EventTarget {
  /** How many notifications are unread. */
  unread = 0;
  /** @type {Map<string, *>} what the user chose, with the defaults */
  preferences = new Map();
  #client;
  #rest;

  /** @param {import("./mana.js").ManaClient} client */
  constructor(client) {
    super();
    this.#client = client;
    this.#rest = client.rest;
    client.on("notification", (frame) => {
      this.#setUnread(this.unread + 1);
      this.#emit("notification", frame);
    });
    client.on("notification_read", (frame) => {
      this.#setUnread(frame.unread);
      this.#emit("notifications", frame);
    });
    client.on("contact", (frame) => this.#emit("contacts", frame));
    client.on("profile", (frame) => this.#emit("person", frame));
    client.on("preference", ({ key, value }) => this.#chose(key, value));
    // What came while the page was away comes by no frame.
    let wasOnline = false;
    client.on("state", ({ state }) => {
      if (state !== "online") return;
      if (wasOnline) this.start().catch(() => {});
      wasOnline = true;
    });
  }

  /** Load the choices and the number of unread notifications. */
  async start() {
    const [preferences, { unread }] = await Promise.all([
      this.#rest.get("preferences"),
      this.#rest.get("notifications/unread"),
    ]);
    for (const { key, value } of preferences.results) this.#chose(key, value);
    this.#setUnread(unread);
  }

  /** @returns {() => void} stops it */
  on(type, listener) {
    const handler = (event) => listener(event.detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  // -- The user themselves

  me() {
    return this.#rest.get("me");
  }

  /** @param {{display_name?: string, about?: string, status?: {text?: string, emoji?: string, expires_at?: string} | null,
   *   last_seen_to?: string, direct_messages_from?: string, find_by_email?: boolean, find_by_phone?: boolean}} changes */
  changeProfile(changes) {
    return this.#rest.patch("me", changes);
  }

  /** @param {Blob} image */
  setAvatar(image) {
    const form = new FormData();
    form.append("avatar", image, "avatar");
    return this.#rest.put("me/avatar", form);
  }

  removeAvatar() {
    return this.#rest.delete("me/avatar");
  }

  changeUsername(username) {
    return this.#rest.post("me/username", { username });
  }

  changeEmail(email, password) {
    return this.#rest.post("me/email", { email, password });
  }

  /** Change the password; all other sign-ins end. */
  changePassword(oldPassword, password) {
    return this.#rest.post("auth/password", { old_password: oldPassword, password });
  }

  deleteAccount(password) {
    return this.#rest.post("me/deletion", { password });
  }

  // -- Sign-ins and devices

  async signIns() {
    return (await this.#rest.get("auth/sign-ins", { limit: 200 })).results;
  }

  endSignIn(id) {
    return this.#rest.delete(`auth/sign-ins/${encodeURIComponent(id)}`);
  }

  async devices() {
    return (await this.#rest.get("devices", { limit: 200 })).results;
  }

  renameDevice(deviceId, name) {
    return this.#rest.patch(`devices/${encodeURIComponent(deviceId)}`, { name });
  }

  removeDevice(deviceId) {
    return this.#rest.delete(`devices/${encodeURIComponent(deviceId)}`);
  }

  signOutEverywhere() {
    return this.#rest.post("auth/logout", { everywhere: true });
  }

  // -- Contacts and blocks

  contacts() {
    return this.#all("contacts");
  }

  /** @param {"received" | "made"} [direction] */
  requests(direction = "received") {
    return this.#all("contacts/requests", { direction });
  }

  /** @returns {Promise<{state: "requested" | "contacts"}>} */
  request(userId, message = "") {
    return this.#rest.post("contacts", { user_id: userId, message });
  }

  accept(userId) {
    return this.#rest.post(`contacts/requests/${encodeURIComponent(userId)}/accept`);
  }

  /** Decline a request, or withdraw one's own. */
  refuse(userId) {
    return this.#rest.delete(`contacts/requests/${encodeURIComponent(userId)}`);
  }

  /** @param {{nickname?: string, is_favourite?: boolean}} changes */
  changeContact(userId, changes) {
    return this.#rest.patch(`contacts/${encodeURIComponent(userId)}`, changes);
  }

  removeContact(userId) {
    return this.#rest.delete(`contacts/${encodeURIComponent(userId)}`);
  }

  blocked() {
    return this.#all("blocks");
  }

  block(userId) {
    return this.#rest.post("blocks", { user_id: userId });
  }

  unblock(userId) {
    return this.#rest.delete(`blocks/${encodeURIComponent(userId)}`);
  }

  // -- Preferences and notifications

  /** Choose; the user's other devices follow. */
  async prefer(key, value) {
    await this.#rest.put(`preferences/${encodeURIComponent(key)}`, { value });
    this.#chose(key, value);
  }

  /** @returns {Promise<{results: object[], next: string | null}>} the newest first; `next` for the page after it */
  notifications(next) {
    return next ? this.#rest.get(next) : this.#rest.get("notifications", { limit: 50 });
  }

  /** @param {string[]} [ids] without: all */
  async markRead(ids) {
    const { unread } = await this.#rest.post("notifications/read", ids ? { ids } : {});
    this.#setUnread(unread);
  }

  async removeNotification(id) {
    await this.#rest.delete(`notifications/${id}`);
  }

  async #all(path, query = {}) {
    const rows = [];
    let page = await this.#rest.get(path, { ...query, limit: 200 });
    for (;;) {
      rows.push(...page.results);
      if (!page.next) return rows;
      page = await this.#rest.get(page.next);
    }
  }

  #chose(key, value) {
    this.preferences.set(key, value);
    this.#emit("preferences", { key, value });
  }

  #setUnread(unread) {
    if (unread === this.unread) return;
    this.unread = unread;
    this.#emit("unread", { unread });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
