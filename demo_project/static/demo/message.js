// One message of the log: its bubble, sender, time and ticks.

import { contentOf, lookOf, reactionsOf } from "./content.js";
import { plainMark } from "./encryptionparts.js";
import { avatar, h, hue, icon, iconButton } from "./dom.js";
import { exactTime, timeOf } from "./format.js";

const TICKS = {
  queued: ["clock", "Waiting for the connection"],
  sending: ["clock", "Sending"],
  sent: ["tick", "Sent"],
  delivered: ["ticks", "Delivered"],
  read: ["ticks", "Read"],
  failed: ["alert", "Not sent"],
};

/**
 * A row for `reconcile`.
 * @param {{store: object, room: object, starts: boolean, ends: boolean, onRetry: Function, onDiscard: Function,
 *   onReact: Function, onMenu: Function, onQuote: Function}} place
 *   starts, ends: whether the message begins or ends a group of one sender
 */
export function messageItem(event, place) {
  const { store, room, starts, ends } = place;
  const own = String(event.from) === store.me.id;
  return {
    key: `message ${event.key ?? event.id}`,
    create: () => create(event, own),
    update: (row) => {
      row.classList.toggle("starts", starts);
      row.classList.toggle("ends", ends);
      if (event.index) Object.assign(row.dataset, { id: event.id, index: event.index });
      showContent(row, event, place);
      if (own)
        showStatus(
          row,
          event,
          event.outgoing?.status ?? store.thread(room.id).statusOf(event.index, store.me.id),
          place,
        );
      else showSender(row, event, place);
    },
  };
}

function create(event, own) {
  const time = h(
    "time",
    { datetime: event.timestamp, title: exactTime(event.timestamp), dataset: { testid: "message-time" } },
    timeOf(event.timestamp),
  );
  const meta = h("span", { class: "meta" }, time);
  if (own) meta.append(h("span", { class: "ticks", dataset: { testid: "message-ticks" } }));
  const bubble = h(
    "div",
    { class: "bubble" },
    own
      ? h("span", { class: "visually-hidden" }, "You: ")
      : h("div", { class: "sender", dir: "auto", dataset: { testid: "message-sender" } }),
    h("div", { class: "content" }),
    meta,
  );
  const dataset = { testid: "message" };
  if (own) dataset.own = "true";
  if (event.ack_id) dataset.ackId = event.ack_id;
  return h(
    "li",
    { class: `message ${own ? "own" : "other"}`, dataset },
    own ? null : h("span", { class: "message-avatar" }),
    h("div", { class: "message-column" }, bubble),
  );
}

/** Fill the bubble, again after an edit, a deletion or a reaction. */
function showContent(row, event, place) {
  const { store, room, onReact, onMenu, onQuote } = place;
  const quoted = event.reply_to ? store.thread(room.id).message(event.reply_to) : null;
  const plain = Boolean(store.isSealed(room.id)) && !event.encrypted && !event.deleted;
  const look = `${lookOf(event, quoted)}${plain}`;
  if (row.dataset.look !== look) {
    row.dataset.look = look;
    row.classList.toggle("deleted", Boolean(event.deleted));
    row.classList.toggle("edited", Boolean(event.edited_at));
    row.querySelector(".content").replaceChildren(...contentOf(event, { store, quoted, onQuote }));
    const time = row.querySelector("time");
    time.textContent = `${event.edited_at ? "edited " : ""}${timeOf(event.timestamp)}`;
    if (event.edited_at) time.title = `${exactTime(event.timestamp)}, edited ${exactTime(event.edited_at)}`;
    row.querySelector(".message-plain")?.remove();
    if (plain) row.querySelector(".meta").prepend(plainMark());
    row.querySelector(".reactions")?.remove();
    const bar = reactionsOf(event, store, (emoji, remove) => onReact(event, emoji, remove));
    if (bar) row.querySelector(".message-column").append(bar);
  }
  const usable = event.id && event.index && !event.deleted && !event.unreadable && room.role;
  const button = row.querySelector(".message-menu");
  if (usable && !button) {
    const more = iconButton("more", "More about this message", "message-menu", () => onMenu(event, more));
    more.classList.add("message-menu");
    more.setAttribute("aria-haspopup", "menu");
    row.append(more);
    row.querySelector(".bubble").addEventListener("contextmenu", (click) => {
      if (getSelection().toString() || click.target.closest("a, img")) return; // the browser's own menu has more to offer
      click.preventDefault();
      onMenu(event, more);
    });
  } else if (!usable) button?.remove();
}

function showSender(row, event, { store, room, starts, ends }) {
  const name = store.nameOf(event.from, event.username);
  const sender = row.querySelector(".sender");
  const direct = room.room_type === "direct";
  sender.textContent = name;
  sender.classList.toggle("visually-hidden", direct || !starts);
  sender.style.setProperty("--hue", hue(event.from));
  const box = row.querySelector(".message-avatar");
  box.hidden = direct;
  const look = ends ? name : "";
  if (box.dataset.look === look) return;
  box.dataset.look = look;
  box.replaceChildren(ends && !direct ? avatar(event.from, name, { className: "small" }) : "");
}

function showStatus(row, event, status, { onRetry, onDiscard }) {
  if (row.dataset.status === status) return;
  row.dataset.status = status;
  const [name, label] = TICKS[status] ?? TICKS.sent;
  const ticks = row.querySelector(".ticks");
  ticks.title = label;
  ticks.replaceChildren(icon(name), h("span", { class: "visually-hidden" }, label));
  row.querySelector(".failure")?.remove();
  if (status !== "failed") return;
  const ackId = event.ack_id;
  const button = (label, testid, onclick) =>
    h("button", { type: "button", class: "link-button", dataset: { testid }, onclick }, label);
  const why = h("span", { dir: "auto" }, `Not sent. ${event.outgoing.error?.message ?? ""}`);
  const again = button("Try again", "message-retry", () => onRetry(ackId));
  const discard = button("Delete", "message-discard", () => onDiscard(ackId));
  row.querySelector(".message-column").append(h("div", { class: "failure" }, why, again, discard));
}
