// "@" in the composer: the members whose names begin so, chosen by keys or touch.

import { avatar, h } from "./dom.js";

const SHOWN = 6;
const BEFORE_CURSOR = /(?:^|\s)@([\p{L}\p{N}_.+-]*)$/u;

export class Mentions {
  element = h("ul", { class: "mentions", role: "listbox", id: "mentions", "aria-label": "Members", hidden: true, dataset: { testid: "mentions" } });
  #field;
  #members;
  #chosen = 0;
  #found = [];
  #dismissed = false; // by Escape, until the text changes

  /** @param {HTMLTextAreaElement} field @param {() => object[]} members of the open room, `all` for everybody included */
  constructor(field, members) {
    this.#field = field;
    this.#members = members;
    field.setAttribute("aria-controls", "mentions");
    field.addEventListener("input", () => {
      this.#dismissed = false;
      this.#look();
    });
    field.addEventListener("blur", () => this.close()); // a press on the list does not take the focus away
  }

  /** The user ids whose names the text calls. */
  idsIn(text) {
    const called = new Set([...text.matchAll(/@([\p{L}\p{N}_.+-]+)/gu)].map(([, name]) => name.replace(/[.]+$/, "")));
    return this.#members()
      .filter(({ username }) => called.has(username))
      .map(({ user_id }) => String(user_id));
  }

  close() {
    this.element.hidden = true;
    this.#field.removeAttribute("aria-activedescendant");
  }

  /** @returns {boolean} whether the key was for the list */
  key(press) {
    if (this.element.hidden) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[press.key];
    if (step) {
      this.#chosen = (this.#chosen + step + this.#found.length) % this.#found.length;
      this.#render();
    } else if (press.key === "Enter" || press.key === "Tab") {
      this.#take(this.#found[this.#chosen]);
    } else if (press.key === "Escape") {
      this.#dismissed = true;
      this.close();
    } else return false;
    press.preventDefault();
    return true;
  }

  /** The members have come, perhaps after the "@". */
  refresh() {
    if (this.element.hidden && !this.#dismissed && document.activeElement === this.#field) this.#look();
  }

  #look() {
    const { value, selectionStart } = this.#field;
    const match = BEFORE_CURSOR.exec(value.slice(0, selectionStart));
    const wanted = match?.[1].toLocaleLowerCase();
    const fits = (name) => (name ?? "").toLocaleLowerCase().startsWith(wanted);
    this.#found = match
      ? this.#members()
          .filter(({ username, display_name }) => fits(username) || fits(display_name))
          .slice(0, SHOWN)
      : [];
    this.#chosen = 0;
    if (this.#found.length) this.#render();
    else this.close();
  }

  #render() {
    const rows = this.#found.map((member, at) =>
      h(
        "li",
        {
          id: `mention-${at}`,
          role: "option",
          "aria-selected": String(at === this.#chosen),
          dataset: { testid: "mention" },
          onpointerdown: (event) => {
            event.preventDefault();
            this.#take(member);
          },
        },
        avatar(member.user_id, member.display_name || member.username, { className: "small", room: member.user_id === "@all" }),
        h("span", { class: "row-text" }, h("strong", { dir: "auto" }, member.display_name || member.username), h("small", {}, `@${member.username}`)),
      ),
    );
    this.element.replaceChildren(...rows);
    this.element.hidden = false;
    this.#field.setAttribute("aria-activedescendant", `mention-${this.#chosen}`);
  }

  #take({ username }) {
    const { value, selectionStart } = this.#field;
    const begin = value.slice(0, selectionStart).lastIndexOf("@");
    this.#field.setRangeText(`@${username} `, begin, selectionStart, "end");
    this.close();
    this.#field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
