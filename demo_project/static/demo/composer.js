// Writing a message, or another version of one. A draft is kept for each room, also over a reload of the tab.

import { summary } from "./content.js";
import { h, icon, iconButton } from "./dom.js";
import { payloadText } from "./format.js";
import { Mentions } from "./mentions.js";
import { Tray } from "./tray.js";

const LONGEST = 15_000; // characters; four bytes each still fit into a frame

export class Composer {
  #text = h("textarea", {
    rows: "1",
    placeholder: "Message",
    "aria-label": "Message",
    dir: "auto",
    enterkeyhint: "send",
    "aria-describedby": "composer-error",
    dataset: { testid: "composer-text" },
  });
  #send = h(
    "button",
    {
      type: "submit",
      class: "send",
      "aria-label": "Send",
      title: "Send",
      disabled: true,
      dataset: { testid: "composer-send" },
    },
    icon("send"),
  );
  #error = h("p", {
    id: "composer-error",
    class: "composer-error",
    role: "alert",
    hidden: true,
    dataset: { testid: "composer-error" },
  });
  #files = h("input", { type: "file", multiple: true, hidden: true, dataset: { testid: "composer-files" } });
  #aboutTitle = h("strong", {});
  #aboutText = h("span", { dir: "auto" });
  #about = h(
    "div",
    { class: "composer-about", hidden: true, dataset: { testid: "composer-about" } },
    h("span", { class: "composer-about-text" }, this.#aboutTitle, this.#aboutText),
    iconButton("close", "Cancel", "composer-cancel", () => this.cancel()),
  );
  #tray;
  #mentions;
  #subject = null; // {event, kind: "reply" | "edit"}
  #roomId = null;
  #hooks;

  /**
   * @param {{client: object, store: object, upload: (file: File, options: object) => Promise<object>}} context
   * @param {{onSend: (message: {text: string, reply_to?: string, mentions: string[], attachments?: string[]}) => void,
   *   onEdit: (event: object, text: string, mentions: string[]) => void, onTyping: (active: boolean) => void,
   *   onEditLast: () => void, members: () => object[]}} hooks
   */
  constructor({ client, store, upload }, hooks) {
    this.#hooks = hooks;
    this.#tray = new Tray(client, store, { onChange: () => this.#fit(), upload });
    this.#mentions = new Mentions(this.#text, hooks.members);
    const attach = iconButton("clip", "Attach files", "composer-attach", () => this.#files.click());
    this.#files.addEventListener("change", () => {
      this.#tray.add(this.#files.files);
      this.#files.value = "";
      this.focus();
    });
    this.#text.addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.#tray.add(event.clipboardData.files);
    });
    this.element = h(
      "form",
      { class: "composer", dataset: { testid: "composer" } },
      this.#error,
      this.#mentions.element,
      this.#about,
      this.#tray.element,
      h("div", { class: "composer-row" }, attach, this.#files, this.#text, this.#send),
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    addEventListener("resize", () => this.#fit());
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (event) => {
      if (this.#mentions.key(event)) return;
      if (event.key === "Escape" && this.#subject) {
        event.preventDefault();
        this.cancel();
      }
      if (event.key === "ArrowUp" && !this.#text.value && !this.#subject) this.#hooks.onEditLast();
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
  }

  /** Show the draft of a room. */
  open(roomId) {
    if (roomId !== this.#roomId) {
      this.#tray.clear();
      this.#setSubject(null);
      this.#mentions.close();
    }
    this.#roomId = roomId;
    this.#text.value = draft(roomId);
    this.#fit();
  }

  /** Files that were dropped on the chat. */
  attach(files) {
    this.#tray.add(files);
    this.focus();
  }

  /** The members of the room have come. */
  membersChanged() {
    this.#mentions.refresh();
  }

  /** The next message answers this one. */
  reply(event, name) {
    if (this.#subject?.kind === "edit") this.cancel();
    this.#setSubject({ event, kind: "reply" }, `Reply to ${name}`);
    this.focus();
  }

  /** Write another version of a message. */
  edit(event) {
    this.#setSubject({ event, kind: "edit" }, "Edit message");
    this.#text.value = payloadText(event.payload).text;
    this.#fit();
    this.focus();
  }

  /** Neither answer nor edit. */
  cancel() {
    const was = this.#subject?.kind;
    this.#setSubject(null);
    if (was === "edit") this.#text.value = draft(this.#roomId);
    this.#fit();
    this.focus();
  }

  #setSubject(subject, title = "") {
    this.#subject = subject;
    this.#about.hidden = !subject;
    this.#aboutTitle.textContent = title;
    this.#aboutText.textContent = subject ? summary(subject.event) : "";
    this.element.classList.toggle("editing", subject?.kind === "edit");
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }

  #submit() {
    const text = this.#text.value.trim();
    if (!this.#sendable(text)) return;
    const mentions = this.#mentions.idsIn(text);
    const { kind, event } = this.#subject ?? {};
    try {
      if (kind === "edit") {
        this.#hooks.onEdit(event, text, mentions);
      } else {
        const attachments = this.#tray.size ? this.#tray.take() : undefined;
        this.#hooks.onSend({ text, mentions, attachments, reply_to: event?.id });
      }
    } catch (error) {
      this.#complain(error.message);
      return;
    }
    this.#mentions.close();
    this.#setSubject(null);
    this.#text.value = kind === "edit" ? draft(this.#roomId) : "";
    if (kind !== "edit") keep(this.#roomId, "");
    this.#fit();
    this.focus();
  }

  #sendable(text) {
    if (text.length > LONGEST) return false;
    if (this.#subject?.kind === "edit") return text !== "";
    return this.#tray.size ? this.#tray.ready : text !== "";
  }

  #changed() {
    if (this.#subject?.kind !== "edit") keep(this.#roomId, this.#text.value);
    this.#fit();
    this.#hooks.onTyping(this.#text.value.trim() !== "");
  }

  #fit() {
    const text = this.#text.value.trim();
    const { length } = text;
    this.#send.disabled = !this.#sendable(text);
    this.#complain(length > LONGEST ? `This is ${(length - LONGEST).toLocaleString()} characters too long.` : "");
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    this.#text.style.overflowY = this.#text.scrollHeight > this.#text.clientHeight ? "auto" : "hidden";
  }

  #complain(text) {
    this.#error.hidden = !text;
    this.#error.textContent = text;
  }
}

function draft(roomId) {
  try {
    return sessionStorage.getItem(`demo:draft:${roomId}`) ?? "";
  } catch {
    return "";
  }
}

function keep(roomId, text) {
  try {
    if (text) sessionStorage.setItem(`demo:draft:${roomId}`, text);
    else sessionStorage.removeItem(`demo:draft:${roomId}`);
  } catch {
    // storage is blocked: the draft lives in the field only
  }
}
