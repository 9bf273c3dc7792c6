// About a chat: who is in it, and what one may change.

import { block } from "./contacts.js";
import { busy, confirmed, openDialog } from "./dialog.js";
import { avatar, h, icon, iconButton, orToast } from "./dom.js";
import { lastSeen, plural } from "./format.js";
import { report } from "./messagemenu.js";
import { peoplePicker } from "./people.js";
import { choosePicture, deleteRoom, inviteLink, memberActions, ownWay, roomAvatar, roomSettings } from "./roompanel.js";

const MANAGERS = new Set(["owner", "admin", "moderator"]);

export function openInfo(context, roomId) {
  const { store } = context;
  const room = store.rooms.get(roomId);
  if (!room) return;
  const direct = room.room_type === "direct";
  const dialog = openDialog({
    title: direct ? "About" : "About this group",
    testid: "dialog-info",
    className: "drawer",
  });
  const render = () => dialog.body.replaceChildren(...(direct ? person(context, room) : group(context, room, dialog)), relation);
  const relation = h("div", {});
  const relate = async () => direct && relation.replaceChildren(...(await relationTo(context, room)));
  const stop = context.people.on("contacts", relate);
  const onThread = (event) => event.detail === roomId && render();
  const onGone = (event) => event.detail.room.id === roomId && dialog.close();
  store.addEventListener("thread", onThread);
  store.addEventListener("gone", onGone);
  dialog.element.addEventListener("close", () => {
    store.removeEventListener("thread", onThread);
    store.removeEventListener("gone", onGone);
    stop();
  });
  render();
  relate();
  store.loadMembers(roomId).catch(() => {});
}

function person(context, room) {
  const { peer } = room;
  return [
    h(
      "div",
      { class: "profile-head" },
      avatar(peer?.user_id ?? room.id, room.name, { online: peer?.online, className: "large" }),
      h("h3", { dir: "auto" }, room.name),
      h("p", { dir: "auto" }, peer ? `@${peer.username}` : ""),
      h("p", { class: peer?.online ? "online" : "" }, peer ? lastSeen(peer) : ""),
    ),
    h("div", { class: "choices" }, ...ownWay(context, room)),
    peer && String(peer.user_id) !== context.store.me.id
      ? h("div", { class: "choices" }, action("flag", "Report", "report-user", () => report(context, { user_id: peer.user_id })))
      : null,
  ].filter(Boolean);
}

/** Contact or not, blocked or not, and what can be done about it. */
async function relationTo(context, room) {
  const { people, store } = context;
  const { peer } = room;
  if (!peer || String(peer.user_id) === store.me.id) return [];
  const id = String(peer.user_id);
  const lists = await Promise.all([people.contacts(), people.requests("made"), people.blocked()]).catch(() => null);
  if (!lists) return [];
  const [contacts, asked, blocked] = lists.map((rows) => rows.some(({ person }) => String(person.id) === id));
  const choices = blocked
    ? [action("block", `Unblock ${room.name}`, "person-unblock", () => orToast(people.unblock(id)))]
    : [
        !contacts && !asked
          ? action("user-plus", "Add to contacts", "person-contact", () => orToast(people.request(id)))
          : null,
        action("block", `Block ${room.name}`, "person-block", () => block(context, id, room.name), "danger"),
      ];
  return [
    contacts || asked
      ? h("p", { class: "results-note" }, contacts ? "You are contacts." : "You have asked them to be your contact.")
      : null,
    h("div", { class: "choices" }, ...choices.filter(Boolean)),
  ].filter(Boolean);
}

function group(context, room, dialog) {
  const members = [...context.store.thread(room.id).members.values()].sort(byRank);
  const manager = MANAGERS.has(room.role);
  const admin = room.role === "owner" || room.role === "admin";
  const actions = [
    manager && action("user-plus", "Add people", "add-people", () => addPeople(context, room)),
    manager && action("link", "Invitation link", "invite-link", () => inviteLink(context, room)),
    admin && action("pencil", "Change name and topic", "rename-room", () => rename(context, room)),
    admin && action("image", "Change the picture", "room-picture", () => choosePicture(context, room)),
    admin && action("sliders", "Settings of the group", "room-settings", () => roomSettings(context, room)),
  ];
  const ends = [
    room.role && action("flag", "Report the group", "report-room", () => report(context, { room_id: room.id })),
    room.role && action("logout", "Leave the group", "leave-room", () => leave(context, room, dialog), "danger"),
    room.role === "owner" &&
      action("trash", "Delete the group", "delete-room", () => deleteRoom(context, room, dialog), "danger"),
  ];
  return [
    h(
      "div",
      { class: "profile-head" },
      roomAvatar(room, "large"),
      h("h3", { dir: "auto" }, room.name),
      room.topic ? h("p", { dir: "auto" }, room.topic) : null,
      h("p", {}, `${room.is_private ? "Private" : "Public"} ${room.room_type}`),
    ),
    h("div", { class: "choices" }, ...actions.filter(Boolean)),
    room.role ? h("div", { class: "choices" }, ...ownWay(context, room)) : null,
    h("h3", {}, plural(members.length, "member")),
    h("ul", { class: "results" }, ...members.map((member) => h("li", {}, memberRow(context, room, member, manager)))),
    h("div", { class: "choices" }, ...ends.filter(Boolean)),
  ].filter(Boolean);
}

function memberRow(context, room, member, manager) {
  const { store } = context;
  const id = String(member.user_id);
  const me = id === store.me.id;
  const name = member.display_name || member.username;
  const actable = manager && !me && (room.role === "owner" || (RANK[member.role] ?? 3) > RANK[room.role]);
  const muted = member.muted_until && Date.parse(member.muted_until) > Date.now();
  return h(
    "div",
    { class: "row static", dataset: { testid: "member", userId: id } },
    avatar(id, name, { online: member.online, className: "medium" }),
    h(
      "span",
      { class: "row-text" },
      h("strong", { dir: "auto" }, me ? `${name} (you)` : name),
      h("small", {}, lastSeen(member)),
    ),
    member.role && member.role !== "member" ? h("span", { class: "tag" }, member.role) : null,
    muted ? h("span", { class: "tag" }, "muted") : null,
    actable ? iconButton("more", `More about ${name}`, "member-more", () => memberActions(context, room, member)) : null,
  );
}

function action(name, text, testid, onclick, className = "") {
  return h(
    "button",
    { type: "button", class: `row ${className}`, dataset: { testid }, onclick },
    h("span", { class: "row-icon" }, icon(name)),
    h("span", { class: "row-text" }, h("strong", {}, text)),
  );
}

async function leave({ client, store }, room, dialog) {
  if (!(await confirmed("Leave the group?", `You will no longer see what is written in “${room.name}”.`, "Leave")))
    return;
  const left = await orToast(client.rest.delete(`rooms/${room.id}/members/me`).then(() => true));
  if (!left) return;
  dialog.close();
  store.forget(room.id, "left");
}

function addPeople(context, room) {
  const { client, store } = context;
  const present = store.thread(room.id).members;
  const save = h(
    "button",
    { type: "button", class: "button primary", disabled: true, dataset: { testid: "add-people-save" } },
    "Add",
  );
  const picker = peoplePicker(context, {
    except: (id) => present.has(id),
    onChange: (picked) => (save.disabled = !picked.size),
  });
  const dialog = openDialog(
    { title: "Add people", testid: "dialog-add-people" },
    picker.element,
    h("div", { class: "dialog-actions" }, save),
  );
  save.addEventListener("click", () =>
    busy(save, async () => {
      const added = await orToast(
        client.rest.post(`rooms/${room.id}/members`, { user_ids: [...picker.picked.keys()] }).then(() => true),
      );
      if (!added) return;
      dialog.close();
      store.loadMembers(room.id).catch(() => {});
    }),
  );
  picker.input.focus();
}

function rename({ client, store }, room) {
  const name = h("input", { id: "room-name", required: true, maxlength: "100", value: room.name, dir: "auto" });
  const topic = h("input", { id: "room-topic", maxlength: "200", value: room.topic ?? "", dir: "auto" });
  const save = h("button", { type: "submit", class: "button primary" }, "Save");
  const form = h(
    "form",
    {},
    h("div", { class: "field" }, h("label", { for: "room-name" }, "Name"), name),
    h("div", { class: "field" }, h("label", { for: "room-topic" }, "Topic"), topic),
    h("div", { class: "dialog-actions" }, save),
  );
  const dialog = openDialog({ title: "Name and topic", testid: "dialog-rename", className: "narrow" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(save, async () => {
      const changed = await orToast(
        client.rest.patch(`rooms/${room.id}`, { name: name.value.trim(), topic: topic.value.trim() }),
      );
      if (!changed) return;
      store.put(changed);
      store.changed(room.id);
      dialog.close();
    });
  });
}

const RANK = { owner: 0, admin: 1, moderator: 2 };

function byRank(a, b) {
  return (
    (RANK[a.role] ?? 3) - (RANK[b.role] ?? 3) ||
    String(a.display_name || a.username).localeCompare(String(b.display_name || b.username))
  );
}
