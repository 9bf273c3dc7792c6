// What can be done with a message: a menu at its bubble, by mouse, touch and keyboard.

import { busy, confirmed, openDialog } from "./dialog.js";
import { h, icon, orToast, toast } from "./dom.js";
import { payloadText } from "./format.js";

const QUICK = ["👍", "❤️", "😂", "😮", "😢", "🙏"];
const MANAGERS = new Set(["owner", "admin", "moderator"]);
const REASONS = { spam: "Spam", abuse: "Abuse", violence: "Violence", nudity: "Nudity", illegal: "Illegal", other: "Something else" };

/**
 * @param {{client: object, store: object, onReply: (event: object) => void, onEdit: (event: object) => void}} context
 * @param {object} event the message
 * @param {HTMLElement} anchor the button of its menu, which gets the focus back
 */
export function openMessageMenu(context, room, event, anchor) {
  document.querySelector(".message-actions")?.remove();
  const { client, store } = context;
  const own = String(event.from) === store.me.id;
  const manages = room.room_type !== "direct" && MANAGERS.has(room.role);
  const mine = new Set((event.reactions ?? []).filter((one) => one.me).map((one) => one.emoji));
  const close = () => menu.hidePopover();
  const item = (name, text, testid, act, className = "") =>
    h(
      "button",
      {
        type: "button",
        role: "menuitem",
        class: `menu-item ${className}`,
        tabindex: "-1",
        dataset: { testid },
        onclick: () => {
          close();
          act();
        },
      },
      icon(name),
      h("span", {}, text),
    );
  const quick = h(
    "div",
    { class: "quick-reactions", role: "group", "aria-label": "React" },
    ...QUICK.map((emoji) =>
      h(
        "button",
        {
          type: "button",
          role: "menuitemcheckbox",
          "aria-checked": String(mine.has(emoji)),
          tabindex: "-1",
          dataset: { testid: "quick-reaction", emoji },
          onclick: () => {
            close();
            orToast(context.encryption.react(event, emoji, { remove: mine.has(emoji) }));
          },
        },
        emoji,
      ),
    ),
  );
  const { text, isData } = payloadText(event.payload);
  const pinned = room.pins?.has(event.id);
  const items = [
    item("reply", "Reply", "menu-reply", () => context.onReply(event)),
    own && !isData && !event.unreadable && item("pencil", "Edit", "menu-edit", () => context.onEdit(event)),
    text && !event.unreadable && item("copy", "Copy text", "menu-copy", () => copy(text)),
    !event.encrypted &&
      (manages || room.room_type === "direct") &&
      item("pin", pinned ? "Unpin" : "Pin", "menu-pin", () => pin(context, room, event, pinned)),
    event.edited_at && !event.encrypted && item("clock", "Earlier versions", "menu-revisions", () => revisions(context, event)),
    item("eye-off", "Delete for me", "menu-delete-me", () => orToast(client.deleteMessage(event.id, "me"))),
    (own || manages) &&
      item("trash", "Delete for everyone", "menu-delete", () => remove(context, event), "danger"),
    !own && item("flag", "Report", "menu-report", () => report(context, { message_id: event.id }), "danger"),
  ].filter(Boolean);
  const menu = h("div", { class: "menu message-actions", popover: "auto", role: "menu", "aria-label": "Message" }, quick, ...items);
  document.body.append(menu);
  menu.addEventListener("keydown", (press) => keys(press, menu));
  menu.addEventListener("toggle", ({ newState }) => {
    if (newState !== "closed") return;
    menu.remove();
    if (document.activeElement === document.body) anchor.focus({ preventScroll: true });
  });
  menu.showPopover();
  place(menu, anchor);
  items[0].focus({ preventScroll: true });
}

function place(menu, anchor) {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.min(Math.max(8, at.left + at.width / 2 - width / 2), innerWidth - width - 8);
  const below = at.bottom + 6;
  const top = below + height < innerHeight - 8 ? below : Math.max(8, at.top - height - 6);
  menu.style.inset = `${top}px auto auto ${left}px`;
}

/** Arrows move, as in every menu. */
function keys(press, menu) {
  const all = [...menu.querySelectorAll("button")];
  const quick = all.filter((one) => one.closest(".quick-reactions"));
  const at = all.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[press.key];
  if (press.key === "Tab") {
    press.preventDefault();
    menu.hidePopover();
  }
  if (step === undefined) return;
  press.preventDefault();
  const inQuick = at < quick.length;
  const sideways = press.key === "ArrowLeft" || press.key === "ArrowRight";
  if (sideways && !inQuick) return;
  let next = at + step;
  if (!sideways && inQuick) next = step > 0 ? quick.length : all.length - 1;
  else if (!sideways && next < quick.length) next = step > 0 ? quick.length : 0;
  all[(next + all.length) % all.length].focus();
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast("The browser does not let this page copy.", "error");
  }
}

function pin({ client }, room, event, pinned) {
  const path = `messages/${event.id}/pin`;
  return orToast(pinned ? client.rest.delete(path) : client.rest.request("PUT", path, { body: {} }));
}

async function remove({ encryption }, event) {
  const sure = await confirmed("Delete for everyone?", "Nobody will be able to read this message any more.", "Delete");
  if (sure) await orToast(encryption.remove(event));
}

async function revisions({ client }, event) {
  const found = await orToast(client.rest.get(`messages/${event.id}/revisions`));
  if (!found) return;
  const list = found.results.map(({ payload, replaced_at }) =>
    h("li", { class: "revision" }, h("p", { dir: "auto" }, payloadText(payload).text), h("small", {}, `until ${new Date(replaced_at).toLocaleString()}`)),
  );
  openDialog({ title: "Earlier versions", testid: "dialog-revisions", className: "narrow" }, h("ol", { class: "revisions" }, ...list));
}

/** @param {{message_id?: string, room_id?: string, user_id?: string}} subject */
export function report({ client }, subject) {
  const choices = Object.entries(REASONS).map(([value, label], at) =>
    h("label", { class: "check" }, h("input", { type: "radio", name: "reason", value, checked: at === 0 }), h("span", {}, label)),
  );
  const text = h("textarea", { id: "report-text", rows: "3", maxlength: "2000", dir: "auto" });
  const send = h("button", { type: "submit", class: "button danger", dataset: { testid: "report-send" } }, "Report");
  const form = h(
    "form",
    {},
    h("fieldset", { class: "reasons" }, h("legend", { class: "visually-hidden" }, "What is wrong?"), ...choices),
    h("div", { class: "field" }, h("label", { for: "report-text" }, "Anything to add?"), text),
    h("div", { class: "dialog-actions" }, send),
  );
  const dialog = openDialog({ title: "What is wrong?", testid: "dialog-report", className: "narrow" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const reason = new FormData(form).get("reason");
    busy(send, async () => {
      const sent = await orToast(client.rest.post("reports", { ...subject, reason, text: text.value }));
      if (!sent) return;
      dialog.close();
      toast("Thank you. A moderator will look at it.");
    });
  });
}
