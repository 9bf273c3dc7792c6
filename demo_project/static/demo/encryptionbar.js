// The lock beside the name of a chat, and the line below it when something needs a look.

import { h, icon, iconButton, orToast } from "./dom.js";
import { names } from "./format.js";
import { openLock, openSafety } from "./safety.js";

/** What the lock says: {lock, text, icon}. */
export function lockOf(encryption, store, room) {
  const of = (users) => names(users.map((id) => store.nameOf(id)));
  const plain = (text) => ({ lock: "plain", text, icon: "lock-open" });
  if (!encryption.encrypted) return null;
  const { status } = encryption.encrypted;
  if (!encryption.eligible(room)) return plain(`Not encrypted: anybody can read ${room.room_type === "channel" ? "channels" : "public groups"}.`);
  if (status === "unsupported") return plain("Not encrypted: this browser or address can't do it.");
  const state = encryption.state(room.id);
  if (!state) return { lock: "unknown", text: "Looking whether this chat is encrypted…", icon: "lock" };
  if (state.changed.length) return { lock: "warning", text: `The security keys of ${of(state.changed)} have changed.`, icon: "alert" };
  if (status !== "ready" && state.encrypted) return { lock: "warning", text: "Encrypted, but not for this device: it is not linked.", icon: "alert" };
  if (!state.encrypted) {
    if (status === "unlinked" || status === "replaced") return plain("Not encrypted: this device is not linked.");
    if (state.without.length) return plain(`Not encrypted: ${of(state.without)} can't read encrypted messages.`);
    return plain("Not encrypted.");
  }
  if (state.without.length) return { lock: "warning", text: `Encrypted. ${of(state.without)} can't read it: they have no keys.`, icon: "lock" };
  if (state.verified) return { lock: "verified", text: "End-to-end encrypted, and verified.", icon: "shield" };
  return { lock: "encrypted", text: "End-to-end encrypted.", icon: "lock" };
}

export class Lock {
  #encryption;
  #store;
  #room = null;
  element = h("button", { type: "button", class: "icon-button chat-lock", hidden: true, dataset: { testid: "chat-lock" }, onclick: () => this.#open() });

  constructor(encryption, store) {
    this.#encryption = encryption;
    this.#store = store;
  }

  show(room) {
    this.#room = room;
    const look = room && room.role ? lockOf(this.#encryption, this.#store, room) : null;
    this.element.hidden = !look;
    if (!look || (this.element.dataset.lock === look.lock && this.element.title === look.text)) return;
    this.element.dataset.lock = look.lock;
    this.element.title = look.text;
    this.element.setAttribute("aria-label", look.text);
    this.element.replaceChildren(icon(look.icon));
  }

  async #open() {
    const context = { encryption: this.#encryption, store: this.#store };
    const room = this.#room;
    if (!this.#encryption.state(room.id)) await this.#encryption.refresh(room.id);
    openLock(context, room, lockOf(this.#encryption, this.#store, room).text);
  }
}

export class Bar {
  #encryption;
  #store;
  #text = h("span", { dir: "auto" });
  #actions = h("span", { class: "encryption-bar-actions" });
  element = h("div", { class: "encryption-bar", role: "status", hidden: true, dataset: { testid: "encryption-bar" } }, icon("alert"), this.#text, this.#actions);

  constructor(encryption, store) {
    this.#encryption = encryption;
    this.#store = store;
  }

  show(room) {
    const found = room && room.role ? this.#find(room) : null;
    this.element.hidden = !found;
    if (!found) {
      delete this.element.dataset.kind;
      return;
    }
    this.element.dataset.kind = found.kind;
    this.#text.textContent = found.text;
    this.#actions.replaceChildren(...found.actions);
  }

  #find(room) {
    const encryption = this.#encryption;
    if (!encryption.encrypted || !encryption.eligible(room)) return null;
    const context = { encryption, store: this.#store };
    const { status } = encryption.encrypted;
    const button = (text, testid, act, className = "link-button") => h("button", { type: "button", class: className, dataset: { testid }, onclick: act }, text);
    if (status === "unlinked" || status === "replaced") {
      const text = status === "unlinked" ? "This device can't read encrypted messages yet." : "This device was removed from your account's devices.";
      return { kind: status, text, actions: [button("Link it", "encryption-bar-act", () => encryption.onSettings())] };
    }
    const state = encryption.state(room.id);
    if (state?.changed.length) {
      const [id] = state.changed;
      const text = `The security keys of ${encryption.nameOf(id)} have changed: a new phone or browser, or somebody else. Nothing is sent until you have looked.`;
      return { kind: "changed", text, actions: [button("Look at it", "encryption-bar-act", () => openSafety(context, id))] };
    }
    if (state?.encrypted && state.unknown.length) {
      const who = names(state.unknown.map((id) => encryption.nameOf(id)));
      const admit = () => orToast(encryption.encrypted.admit(room.id, state.unknown).then(() => encryption.refresh(room.id)));
      const text = `${who} joined, but nobody has let them read encrypted messages yet.`;
      return { kind: "unknown", text, actions: [button("Let them read", "encryption-bar-act", admit)] };
    }
    if (encryption.ownNews) {
      const done = () => {
        encryption.ownNews = false;
        this.show(room);
      };
      const look = button("Your devices", "encryption-bar-act", () => (done(), encryption.onSettings()));
      const text = "A device was added to your account. If that was not you, remove it.";
      return { kind: "own-device", text, actions: [look, iconButton("close", "Put away", "encryption-bar-close", done)] };
    }
    const news = encryption.news.get(room.id);
    if (!news) return null;
    const away = () => {
      encryption.news.delete(room.id);
      this.show(room);
    };
    const actions = [button("Safety number", "encryption-bar-act", () => openSafety(context, news.userId)), iconButton("close", "Put away", "encryption-bar-close", away)];
    return { kind: news.kind, text: `${encryption.nameOf(news.userId)} uses a new device.`, actions };
  }
}
