// Contacts, and requests to become contacts.

import { busy, confirmed, openDialog } from "./dialog.js";
import { avatar, h, icon, iconButton, orToast, setPicture, toast } from "./dom.js";
import { lastSeen } from "./format.js";
import { peopleSearch } from "./people.js";

/** Keep the number of requests that wait for an answer in the menu. */
export function showWaiting(people) {
  const badge = document.getElementById("contacts-waiting");
  const count = async () => {
    const waiting = (await people.requests().catch(() => [])).length;
    badge.hidden = !waiting;
    badge.textContent = waiting > 99 ? "99+" : waiting;
    badge.setAttribute("aria-label", `${waiting} waiting`);
  };
  people.on("contacts", count);
  count();
}

export async function openContacts(context) {
  const { people, store } = context;
  const dialog = openDialog({ title: "Contacts", testid: "dialog-contacts", className: "drawer" });
  const render = async () => {
    const [contacts, received, made] =
      (await orToast(Promise.all([people.contacts(), people.requests(), people.requests("made")]))) ?? [];
    if (!contacts || !dialog.element.isConnected) return;
    for (const { person } of [...contacts, ...received, ...made]) store.remember([person]);
    const focused = document.activeElement?.dataset?.testid;
    dialog.body.replaceChildren(
      h("div", { class: "results first" }, action("user-plus", "Add a contact", "contact-add", () => openAdd(context))),
      ...section("Wants to be your contact", received, (row) => requestRow(context, row)),
      ...section("Waiting for an answer", made, (row) => requestRow(context, row)),
      ...section("Contacts", contacts.toSorted(byName), (row) => contactRow(context, row, dialog)),
      ...(contacts.length || received.length || made.length
        ? []
        : [h("p", { class: "results-note" }, "Nobody is here yet. Contacts find each other quickly and see each other’s status.")]),
    );
    if (focused) dialog.body.querySelector(`[data-testid="${focused}"]`)?.focus();
  };
  const stop = [people.on("contacts", render), people.on("person", render)];
  dialog.element.addEventListener("close", () => stop.forEach((end) => end()));
  dialog.body.append(h("p", { class: "results-note" }, "Loading…"));
  await render();
}

function section(title, rows, show) {
  if (!rows.length) return [];
  return [h("h3", {}, title), h("ul", { class: "results" }, ...rows.map((row) => h("li", {}, show(row))))];
}

function contactRow(context, row, dialog) {
  const { people } = context;
  const name = row.nickname || nameOf(row.person);
  const status = [row.status?.emoji, row.status?.text].filter(Boolean).join(" ");
  const star = iconButton(
    row.is_favourite ? "star-full" : "star",
    row.is_favourite ? `${name} is a favourite` : `Make ${name} a favourite`,
    "contact-star",
    () => orToast(people.changeContact(row.person.id, { is_favourite: !row.is_favourite })),
  );
  star.setAttribute("aria-pressed", String(row.is_favourite));
  return h(
    "div",
    { class: "row static", dataset: { testid: "contact", userId: row.person.id } },
    h(
      "button",
      {
        type: "button",
        class: "row-open",
        dataset: { testid: "contact-chat" },
        onclick: () => chat(context, row.person.id, dialog),
      },
      avatar(row.person.id, name, { online: row.online, className: "medium" }),
      h(
        "span",
        { class: "row-text" },
        h("strong", { dir: "auto" }, name),
        h("small", { dir: "auto" }, status || (row.online === null ? `@${row.person.username}` : lastSeen(row))),
      ),
    ),
    star,
    iconButton("more", `More about ${name}`, "contact-menu", () => openContact(context, row)),
  );
}

function openContact(context, row) {
  const { people } = context;
  const name = nameOf(row.person);
  const nickname = h("input", { id: "contact-nickname", maxlength: "100", value: row.nickname, placeholder: name, dir: "auto" });
  const save = h("button", { type: "submit", class: "button primary" }, "Save");
  const form = h(
    "form",
    {},
    h(
      "div",
      { class: "profile-head" },
      avatar(row.person.id, name, { online: row.online, className: "large" }),
      h("h3", { dir: "auto" }, name),
      h("p", { dir: "auto" }, `@${row.person.username}`),
    ),
    h(
      "div",
      { class: "field" },
      h("label", { for: "contact-nickname" }, "What you call them"),
      nickname,
      h("p", { class: "field-help" }, "Only you see it."),
    ),
    h("div", { class: "dialog-actions" }, save),
    h(
      "div",
      { class: "choices" },
      action("user", "Remove from contacts", "contact-remove", () => remove(), "danger"),
      action("block", "Block", "contact-block", () => blocked(), "danger"),
    ),
  );
  const dialog = openDialog({ title: "Contact", testid: "dialog-contact", className: "narrow" }, form);
  const done = (result) => result !== undefined && dialog.close();
  const remove = async () => {
    if (await confirmed(`Remove ${name}?`, "You will no longer be contacts of each other.", "Remove"))
      done(await orToast(people.removeContact(row.person.id)));
  };
  const blocked = async () => (await block(context, row.person.id, name)) && dialog.close();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(save, async () => done(await orToast(people.changeContact(row.person.id, { nickname: nickname.value.trim() }))));
  });
}

/** Ask, then block somebody. @returns {Promise<boolean>} whether they are blocked now */
export async function block({ people }, userId, name) {
  const text = "You will not get messages or calls from them, and they do not see whether you are online. They are not told.";
  if (!(await confirmed(`Block ${name}?`, text, "Block"))) return false;
  const done = await orToast(people.block(userId).then(() => true));
  if (done) toast(`${name} is blocked.`);
  return Boolean(done);
}

function requestRow({ people }, row) {
  const name = nameOf(row.person);
  const received = row.direction === "received";
  const accept = h(
    "button",
    { type: "button", class: "button primary", dataset: { testid: "request-accept" }, "aria-label": `Accept ${name}` },
    "Accept",
  );
  accept.addEventListener("click", () => busy(accept, () => orToast(people.accept(row.person.id))));
  const refuse = iconButton("close", received ? `Decline ${name}` : `Withdraw the request to ${name}`, "request-refuse", () =>
    orToast(people.refuse(row.person.id)),
  );
  return h(
    "div",
    { class: "row static", dataset: { testid: "request", userId: row.person.id } },
    avatar(row.person.id, name, { className: "medium" }),
    h(
      "span",
      { class: "row-text" },
      h("strong", { dir: "auto" }, name),
      h("small", { dir: "auto" }, row.message || `@${row.person.username}`),
    ),
    received ? accept : null,
    refuse,
  );
}

function openAdd(context) {
  const search = peopleSearch(context, async (person) => {
    const answer = await orToast(context.people.request(person.id));
    if (!answer) return;
    dialog.close();
    toast(answer.state === "contacts" ? `${nameOf(person)} is your contact now.` : `${nameOf(person)} was asked.`);
  });
  const dialog = openDialog({ title: "Add a contact", testid: "dialog-add-contact" }, search.element);
  search.input.focus();
}

async function chat({ client, store, openChat }, userId, dialog) {
  const room = await orToast(client.rest.post("rooms", { room_type: "direct", members: [userId] }));
  if (!room) return;
  store.put(room);
  dialog.close();
  openChat(room.id);
}

export function action(name, text, testid, onclick, className = "", note = "") {
  return h(
    "button",
    { type: "button", class: `row ${className}`, dataset: { testid }, onclick },
    h("span", { class: "row-icon" }, icon(name)),
    h("span", { class: "row-text" }, h("strong", {}, text), note ? h("small", {}, note) : null),
  );
}

export function nameOf(person) {
  setPicture(person.id ?? person.user_id, person.avatar_url);
  return person.display_name || person.username;
}

function byName(a, b) {
  return (
    Number(b.is_favourite) - Number(a.is_favourite) ||
    (a.nickname || nameOf(a.person)).localeCompare(b.nickname || nameOf(b.person))
  );
}
