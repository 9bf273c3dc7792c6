// Calls of the past: the rows in a chat, and the list of all of them.

import { busy, openDialog } from "./dialog.js";
import { avatar, h, icon, iconButton, orToast } from "./dom.js";
import { exactTime, spoken, timeOf, when } from "./format.js";
import { roomAvatar } from "./roompanel.js";

/** What became of a call, for the one who looks. @returns {{text: string, name: string, missed: boolean}} */
export function outcomeOf(call) {
  const kind = call.video ? "video call" : "voice call";
  const icons = call.outgoing ? "call-out" : "call-in";
  if (call.answered_at && call.own_state !== "missed" && call.own_state !== "rejected")
    return { text: `${capital(kind)} · ${spoken(call.seconds ?? 0)}`, name: icons, missed: false };
  if (call.outgoing) {
    const why = { rejected: "declined", busy: "busy", missed: "no answer", hangup: "cancelled", failed: "failed" };
    return { text: `${capital(kind)} · ${why[call.reason] ?? "not answered"}`, name: "call-out", missed: false };
  }
  if (call.own_state === "rejected") return { text: `Declined ${kind}`, name: "call-in", missed: false };
  return { text: `Missed ${kind}`, name: "call-missed", missed: true };
}

/** The calls of the open chat. */
export class CallLog {
  #client;
  #onChange;
  #rooms = new Map(); // room id -> calls, oldest first

  /** @param {(roomId: string) => void} onChange */
  constructor(client, onChange) {
    this.#client = client;
    this.#onChange = onChange;
  }

  async load(roomId) {
    const page = await this.#client.rest.get("rtc/calls", { room_id: roomId, limit: 50 }).catch(() => null);
    if (!page) return;
    this.#rooms.set(roomId, page.results.filter((one) => one.state === "ended").reverse());
    this.#onChange(roomId);
  }

  /** @returns {object[]} as events of the log */
  rows(roomId) {
    return (this.#rooms.get(roomId) ?? []).map((call) => ({ type: "call", id: call.id, timestamp: call.started_at, call }));
  }
}

/** A call as a row of the log (log.js). */
export function callItem(event, { onCall }) {
  const { call } = event;
  return {
    key: `call ${call.id}`,
    create: () => {
      const { text, name, missed } = outcomeOf(call);
      return h(
        "li",
        { class: `call-row${missed ? " missed" : ""}`, dataset: { testid: "call-row", callId: call.id, reason: call.reason ?? "" } },
        icon(name),
        h("span", {}, text),
        h("time", { datetime: call.started_at, title: exactTime(call.started_at) }, timeOf(call.started_at)),
        h("button", { type: "button", class: "link-button", dataset: { testid: "call-again" }, onclick: () => onCall(call.video) }, call.outgoing ? "Call again" : "Call back"),
      );
    },
  };
}

/** Everything that rang here or was made from here, the newest first. */
export async function openCallHistory(context) {
  const list = h("ul", { class: "results" });
  const note = h("p", { class: "results-note", role: "status" }, "Loading…");
  const more = h("button", { type: "button", class: "button wide", hidden: true, dataset: { testid: "calls-more" } }, "Show older ones");
  const dialog = openDialog({ title: "Calls", testid: "dialog-calls", className: "drawer" }, note, list, more);
  let next = null;
  const load = async (path, query) => {
    const page = await orToast(context.client.rest.get(path, query));
    if (!page || !dialog.element.isConnected) return;
    list.append(...page.results.map((call) => h("li", {}, historyRow(context, call, dialog))));
    next = page.next;
    more.hidden = !next;
    note.textContent = list.children.length ? "" : "There were no calls yet. Call somebody from a chat.";
  };
  more.addEventListener("click", () => busy(more, () => load(next)));
  await load("rtc/calls", { limit: 30 });
}

function historyRow(context, call, dialog) {
  const { store } = context;
  const room = store.rooms.get(call.room_id);
  const other = call.participants.find((one) => one.user_id !== store.me.id);
  const group = room && room.room_type !== "direct";
  const name = room?.name ?? store.nameOf(other?.user_id, other?.username);
  const outcome = call.state === "ended" ? outcomeOf(call) : { text: "Going on now", name: "phone", missed: false };
  const open = () => {
    dialog.close();
    context.openChat(call.room_id);
  };
  const again = (video) => () => {
    dialog.close();
    context.openChat(call.room_id);
    context.startCall(call.room_id, video);
  };
  return h(
    "div",
    { class: `row static history${outcome.missed ? " missed" : ""}`, dataset: { testid: "history-call", callId: call.id } },
    h(
      "button",
      { type: "button", class: "row-open", onclick: open, disabled: !room },
      group ? roomAvatar(room) : avatar(other?.user_id ?? call.room_id, name, { className: "medium" }),
      h(
        "span",
        { class: "row-text" },
        h("strong", { dir: "auto" }, name),
        h("small", { class: "history-about" }, icon(outcome.name), h("span", {}, outcome.text)),
      ),
      h("time", { class: "history-time", datetime: call.started_at, title: exactTime(call.started_at) }, when(call.started_at)),
    ),
    room ? iconButton(call.video ? "video" : "phone", `Call ${name}`, "history-call-again", again(call.video)) : null,
  );
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
