// The pinned messages of the open chat: one line below its head, each press shows the one before.

import { summary } from "./content.js";
import { h, icon } from "./dom.js";

export class PinBar {
  #text = h("span", { dir: "auto" });
  #count = h("small", {});
  element = h(
    "button",
    { type: "button", class: "pin-bar", hidden: true, dataset: { testid: "pin-bar" }, onclick: () => this.#next() },
    icon("pin"),
    h("span", { class: "pin-bar-text" }, this.#count, this.#text),
  );
  #client;
  #roomId = null;
  #room = null;
  #pins = [];
  #at = 0;
  #onShow;

  /** @param {{onShow: (messageId: string) => void}} hooks */
  constructor({ client, store }, { onShow }) {
    this.#client = client;
    this.#onShow = onShow;
    client.on("room", (event) => {
      if (event.room_id === this.#roomId && ["pinned", "unpinned"].includes(event.action)) this.#load();
    });
    for (const type of ["message_edit", "message_delete"])
      client.on(type, ({ message_id }) => this.#pins.some((one) => one.id === message_id) && this.#load());
    store.on("gone", ({ room }) => room.id === this.#roomId && this.#show([]));
  }

  open(room) {
    this.#room = room;
    this.#roomId = room.id;
    this.#show([]);
    if (room.role) this.#load();
  }

  async #load() {
    const roomId = this.#roomId;
    const page = await this.#client.rest.get(`rooms/${roomId}/pins`).catch(() => null);
    if (page && roomId === this.#roomId) this.#show(page.results);
  }

  #show(pins) {
    this.#pins = pins;
    this.#at = 0;
    this.#room.pins = new Set(pins.map((one) => one.id));
    this.#render();
  }

  #render() {
    const pin = this.#pins[this.#at];
    this.element.hidden = !pin;
    if (!pin) return;
    this.#count.textContent = this.#pins.length > 1 ? `Pinned ${this.#at + 1} of ${this.#pins.length}` : "Pinned";
    this.#text.textContent = summary(pin);
  }

  #next() {
    this.#onShow(this.#pins[this.#at].id);
    this.#at = (this.#at + 1) % this.#pins.length;
    this.#render();
  }
}
