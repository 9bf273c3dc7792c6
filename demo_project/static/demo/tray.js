// Files on their way into a message: picked, dropped or pasted, with their progress, above the composer.

import { sizeOf } from "./content.js";
import { h, icon, iconButton } from "./dom.js";

const MOST = 10; // the server's ATTACHMENTS_MAX

export class Tray {
  element = h("ul", { class: "tray", "aria-label": "Attachments", hidden: true, dataset: { testid: "tray" } });
  #entries = new Map(); // key -> {file, done, error, stop}
  #client;
  #store;
  #onChange;
  #next = 0;
  #upload;

  /** @param {{onChange: () => void, upload: (file: File, options: object) => Promise<object>}} hooks */
  constructor(client, store, { onChange, upload }) {
    this.#upload = upload;
    this.#client = client;
    this.#store = store;
    this.#onChange = onChange;
  }

  get size() {
    return this.#entries.size;
  }

  /** Whether everything has arrived at the server. */
  get ready() {
    return [...this.#entries.values()].every((entry) => entry.done);
  }

  /** Ids of what has arrived; the tray is empty then. */
  take() {
    const ids = [...this.#entries.values()].map((entry) => entry.done.id);
    this.#entries.clear();
    this.#changed();
    this.element.replaceChildren();
    return ids;
  }

  clear() {
    for (const key of [...this.#entries.keys()]) this.#remove(key);
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) if (this.#entries.size < MOST) this.#begin(file);
  }

  async #begin(file) {
    const key = (this.#next += 1);
    const stop = new AbortController();
    const bar = h("progress", { max: "1", value: "0", "aria-label": `Uploading ${file.name}` });
    const note = h("small", {}, sizeOf(file.size));
    const row = h(
      "li",
      { dataset: { testid: "tray-file" } },
      preview(file),
      h("span", { class: "file-text" }, h("strong", { dir: "auto" }, file.name), note, bar),
      iconButton("close", `Remove ${file.name}`, "tray-remove", () => this.#remove(key)),
    );
    const entry = { row, stop, done: null };
    this.#entries.set(key, entry);
    this.element.append(row);
    this.#changed();
    try {
      entry.done = await this.#upload(file, { signal: stop.signal, onProgress: (share) => (bar.value = share) });
      this.#store.uploaded.set(entry.done.id, entry.done);
      row.dataset.done = "true";
      bar.remove();
    } catch (error) {
      bar.remove();
      note.textContent = error.message;
      row.classList.add("failed");
    }
    this.#changed();
  }

  #remove(key) {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    entry.stop.abort();
    entry.row.remove();
    if (entry.done) this.#client.rest.delete(`attachments/${entry.done.id}`).catch(() => {}); // else the server prunes it
    this.#changed();
  }

  #changed() {
    this.element.hidden = !this.#entries.size;
    this.#onChange();
  }
}

function preview(file) {
  if (!file.type.startsWith("image/") || file.type === "image/svg+xml") return h("span", { class: "file-icon" }, icon("file"));
  const image = h("img", { class: "tray-image", alt: "" });
  const address = URL.createObjectURL(file);
  image.addEventListener("load", () => URL.revokeObjectURL(address));
  image.src = address;
  return image;
}
