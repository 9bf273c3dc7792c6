// What the user is told of: the bell with its number, and the list behind it.

import { busy, openDialog } from "./dialog.js";
import { h, icon, iconButton, orToast, toast } from "./dom.js";
import { exactTime, when } from "./format.js";

const ICONS = { mention: "chat", call_missed: "call-missed", contact_request: "user-plus", contact_accepted: "contacts" };

/** Keep the number on the bell, and say what comes while the page is open. */
export function showUnread(people) {
  const badge = document.getElementById("notifications-unread");
  const bell = document.getElementById("open-notifications");
  people.on("unread", ({ unread }) => {
    badge.hidden = !unread;
    badge.textContent = unread > 99 ? "99+" : unread;
    bell.setAttribute("aria-label", unread ? `Notifications, ${unread} unread` : "Notifications");
  });
  people.on("notification", (one) => {
    if (!one.silent && !document.querySelector("dialog[open]")) toast(one.title);
  });
}

export async function openNotifications(context) {
  const { people } = context;
  const list = h("ul", { class: "results" });
  const readAll = h(
    "button",
    { type: "button", class: "button", dataset: { testid: "notifications-read-all" } },
    "Mark all as read",
  );
  const more = h("button", { type: "button", class: "button wide", hidden: true }, "Show older ones");
  const note = h("p", { class: "results-note", role: "status" }, "Loading…");
  const dialog = openDialog(
    { title: "Notifications", testid: "dialog-notifications", className: "drawer" },
    h("div", { class: "dialog-actions start" }, readAll),
    note,
    list,
    more,
  );
  let next = null;
  const load = async (from) => {
    const page = await orToast(people.notifications(from));
    if (!page || !dialog.element.isConnected) return;
    if (!from) list.replaceChildren();
    list.append(...page.results.map((one) => h("li", {}, row(context, one, dialog))));
    next = page.next;
    more.hidden = !next;
    note.textContent = list.children.length ? "" : "Nothing has happened yet.";
    readAll.disabled = !people.unread;
  };
  const stop = [people.on("notification", () => load()), people.on("notifications", () => load())];
  dialog.element.addEventListener("close", () => stop.forEach((end) => end()));
  readAll.addEventListener("click", () => busy(readAll, () => orToast(people.markRead())).then(() => load()));
  more.addEventListener("click", () => busy(more, () => load(next)));
  await load();
}

function row(context, one, dialog) {
  const open = async () => {
    if (!one.read) await orToast(context.people.markRead([one.id]));
    const roomId = one.data?.room_id;
    if (roomId && context.store.rooms.has(roomId)) {
      dialog.close();
      context.openChat(roomId);
    } else if (one.kind?.startsWith("contact_")) {
      dialog.close();
      context.openContacts();
    }
  };
  return h(
    "div",
    { class: `row static notification ${one.read ? "" : "unread"}`, dataset: { testid: "notification", id: one.id } },
    h(
      "button",
      { type: "button", class: "row-open", onclick: open },
      h("span", { class: "row-icon" }, icon(ICONS[one.kind] ?? "bell")),
      h(
        "span",
        { class: "row-text" },
        h("strong", { dir: "auto" }, one.title),
        one.body ? h("small", { dir: "auto" }, one.body) : null,
        h(
          "small",
          {},
          one.read ? "" : h("span", { class: "visually-hidden" }, "unread, "),
          h("time", { datetime: one.timestamp, title: exactTime(one.timestamp) }, when(one.timestamp)),
        ),
      ),
    ),
    iconButton("close", "Remove", "notification-remove", () => orToast(context.people.removeNotification(one.id))),
  );
}
