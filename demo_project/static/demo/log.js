// The messages of the open chat: bubbles, day separators, room events, and where the page is scrolled to.

import { h, icon, reconcile } from "./dom.js";
import { dayKey, dayName, exactTime, roomEventText } from "./format.js";
import { messageItem } from "./message.js";

const NEAR = 80; // px from the end that still count as "at the end"
const LOAD_AT = 300; // px from the top at which older messages are fetched
const TOGETHER = 5 * 60_000; // ms in which messages of one person form a group

export class Log {
  #store;
  #room = null;
  #list = h("ol", { class: "log" });
  #scroller = h(
    "div",
    {
      class: "log-scroll",
      role: "log",
      "aria-label": "Messages",
      "aria-live": "polite",
      "aria-relevant": "additions",
      tabindex: "0",
      dataset: { testid: "log" },
    },
    this.#list,
  );
  #badge = h("span", { class: "badge" });
  #jump = h(
    "button",
    {
      type: "button",
      class: "jump",
      "aria-label": "Jump to the latest message",
      hidden: true,
      dataset: { testid: "jump-to-latest" },
      onclick: () => this.toEnd(true),
    },
    icon("down"),
    this.#badge,
  );
  #atEnd = true;
  #dividerAfter = null; // index of the last event that was read when the chat was opened
  #missed = 0;
  #quietTimer = null;
  #hooks;

  /**
   * @param {{onOlder: Function, onEnd: Function, onRetry: Function, onDiscard: Function, onReload: Function,
   *   onReact: Function, onMenu: Function, onQuote: Function, calls?: object}} hooks
   */
  constructor(store, hooks) {
    this.#store = store;
    this.#hooks = hooks;
    this.element = h("div", { class: "log-frame" }, this.#scroller, this.#jump);
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(this.#scroller);
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(this.#list);
  }

  get atEnd() {
    return this.#atEnd;
  }

  /** Show another room, from its first unread message or the end. */
  open(room) {
    this.#room = room;
    this.#dividerAfter = room.unread ? (room.read_index ?? 0) : null;
    this.#missed = 0;
    this.#atEnd = true;
    this.#list.replaceChildren();
    this.quiet(true);
    this.render();
    this.#settle();
  }

  /** The first page has come. */
  loaded() {
    this.render();
    this.#settle();
    this.quiet(false);
  }

  /** Whether what comes now is no news: a screen reader does not read it out. */
  quiet(on) {
    clearTimeout(this.#quietTimer);
    if (on) this.#scroller.setAttribute("aria-busy", "true");
    else this.#quietTimer = setTimeout(() => this.#scroller.setAttribute("aria-busy", "false"), 300);
  }

  render() {
    const room = this.#room;
    if (!room) return;
    const thread = this.#store.thread(room.id);
    const before = this.#newest();
    const anchor = this.#atEnd ? null : this.#firstInView();
    const top = anchor?.offsetTop;
    reconcile(this.#list, this.#items(thread, room));
    const after = this.#newest();
    if (anchor) this.#scroller.scrollTop += anchor.offsetTop - top; // what was in view stays where it is
    if (this.#atEnd) this.toEnd();
    else if (before && after > before) this.#missed += this.#newSince(before);
    this.#showJump();
  }

  toEnd(smooth = false) {
    this.#atEnd = true;
    this.#missed = 0;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#scroller.scrollTo({ top: this.#scroller.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
    this.#showJump();
    this.#hooks.onEnd();
  }

  /** Bring a message into view. @returns {boolean} whether it is there */
  show(messageId) {
    const row = this.#list.querySelector(`[data-id="${CSS.escape(messageId)}"]`);
    if (!row) return false;
    this.#atEnd = false;
    row.scrollIntoView({ block: "center" });
    row.classList.remove("shown");
    requestAnimationFrame(() => row.classList.add("shown"));
    return true;
  }

  /** A message of the user was sent: the divider has done its work. */
  clearDivider() {
    this.#dividerAfter = null;
  }

  #settle() {
    const divider = this.#list.querySelector(".unread-divider");
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    if (divider) this.#scroller.scrollTop = Math.min(this.#scroller.scrollTop, divider.offsetTop - 16);
    this.#measure();
    if (this.#atEnd) this.#hooks.onEnd();
    this.#showJump();
  }

  #scrolled() {
    const was = this.#atEnd;
    this.#measure();
    if (this.#atEnd) this.#missed = 0;
    if (this.#atEnd && !was) this.#hooks.onEnd();
    this.#showJump();
    if (this.#scroller.scrollTop < LOAD_AT) this.#hooks.onOlder();
  }

  #measure() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #showJump() {
    this.#jump.hidden = this.#atEnd;
    this.#badge.hidden = !this.#missed;
    this.#badge.textContent = this.#missed;
  }

  #firstInView() {
    const { scrollTop } = this.#scroller;
    return this.#rows().find((row) => row.offsetTop + row.offsetHeight > scrollTop);
  }

  #rows() {
    return [...this.#list.querySelectorAll("[data-index]")];
  }

  #newest() {
    return Number(this.#rows().at(-1)?.dataset.index ?? 0);
  }

  #newSince(index) {
    return this.#rows().filter((row) => Number(row.dataset.index) > index && !row.dataset.own).length;
  }

  #items(thread, room) {
    const items = [];
    if (thread.failed) items.push(this.#failure(thread.failed));
    else if (thread.loading || (!thread.loaded && !thread.events.length)) items.push(LOADING);
    const events = [
      ...thread.events.filter((event) => event.type === "message" || event.type === "room"),
      ...this.#store
        .outgoing(room.id)
        .filter((one) => !thread.events.some((event) => event.ack_id === one.ack_id))
        .map((one) => pendingEvent(one, this.#store)),
    ];
    insertCalls(events, this.#hooks.calls?.rows(room.id) ?? [], thread.hasMore);
    if (thread.loaded && !events.length) items.push(EMPTY);
    let day = null;
    let divided = false;
    events.forEach((event, at) => {
      const key = dayKey(event.timestamp);
      if (key !== day) items.push(note(`day ${key}`, "day-separator", dayName(event.timestamp), "day-separator"));
      const unread =
        this.#dividerAfter !== null &&
        !divided &&
        event.index > this.#dividerAfter &&
        String(event.from) !== this.#store.me.id;
      if (unread) {
        divided = true;
        items.push(note(`unread ${this.#dividerAfter}`, "unread-divider", "New messages", "unread-divider"));
      }
      const starts = key !== day || unread || !together(events[at - 1], event);
      const ends = !together(event, events[at + 1]) || dayKey(events[at + 1].timestamp) !== key;
      day = key;
      const place = { ...this.#hooks, store: this.#store, room, starts, ends };
      if (event.type === "call") items.push(this.#hooks.calls.item(event));
      else items.push(event.type === "message" ? messageItem(event, place) : this.#roomEvent(event));
    });
    return items;
  }

  #roomEvent(event) {
    const text = roomEventText(event, (id, name) => this.#store.nameOf(id, name), this.#store.me.id);
    return {
      key: `event ${event.id}`,
      create: () =>
        h(
          "li",
          { class: "room-event", dataset: { testid: "room-event", index: event.index } },
          h("span", { dir: "auto", title: exactTime(event.timestamp) }),
        ),
      update: (row) => (row.firstElementChild.textContent = text),
    };
  }

  #failure(error) {
    return {
      key: `failed ${error.message}`,
      create: () =>
        h(
          "li",
          { class: "log-note" },
          h("p", {}, error.message),
          h("button", { type: "button", class: "button", onclick: () => this.#hooks.onReload() }, "Try again"),
        ),
    };
  }
}

const LOADING = note("loading", "history-loading", "Loading messages…", "log-note loading");
const EMPTY = note("empty", "log-empty", "Nothing here yet. Say hello!", "log-note");

function note(key, testid, text, className) {
  return { key, create: () => h("li", { class: className, dataset: { testid } }, h("span", {}, text)) };
}

/** An unsent message, as an event that has no place yet. */
function pendingEvent(outgoing, store) {
  const { ack_id, payload, created_at, sealed } = outgoing;
  const { reply_to, mentions } = sealed ? { ...payload, reply_to: payload.reply_event } : outgoing;
  const files = sealed ? payload.attachments?.map((file) => file.id) : outgoing.attachments;
  const attachments = files?.map((id) => store.uploaded.get(id)).filter(Boolean);
  const content = { payload, reply_to, mentions, attachments, encrypted: sealed };
  return { type: "message", key: ack_id, ack_id, ...content, timestamp: created_at, from: store.me.id, outgoing };
}

/** Calls lie between the events by their time; those before what is loaded come with it. */
function insertCalls(events, calls, hasMore) {
  for (const call of calls) {
    const at = Date.parse(call.timestamp);
    const before = events.findLastIndex((event) => Date.parse(event.timestamp) <= at);
    if (before >= 0 || !hasMore) events.splice(before + 1, 0, call);
  }
}

/** Whether two neighbours belong to one group of bubbles. */
function together(a, b) {
  if (a?.type !== "message" || b?.type !== "message" || String(a.from) !== String(b.from)) return false;
  return Date.parse(b.timestamp) - Date.parse(a.timestamp) < TOGETHER;
}
