// Beginning something: a chat with one person, a group, or joining a public room.

import { busy, openDialog } from "./dialog.js";
import { avatar, h, icon, orToast } from "./dom.js";
import { plural } from "./format.js";
import { peoplePicker, peopleSearch } from "./people.js";
import { searchList } from "./search.js";

export function openNewChat(context) {
  const group = h(
    "button",
    {
      type: "button",
      class: "row",
      dataset: { testid: "new-group" },
      onclick: () => (dialog.close(), openNewGroup(context)),
    },
    h("span", { class: "row-icon" }, icon("users")),
    h("span", { class: "row-text" }, h("strong", {}, "New group")),
  );
  const browse = h(
    "button",
    { type: "button", class: "row", onclick: () => (dialog.close(), openBrowse(context)) },
    h("span", { class: "row-icon" }, icon("globe")),
    h("span", { class: "row-text" }, h("strong", {}, "Public rooms")),
  );
  const search = peopleSearch(context, async (person) => {
    const room = await orToast(
      context.client.rest.post("rooms", { room_type: "direct", members: [String(person.id)] }),
    );
    if (room) show(context, room, dialog);
  });
  const dialog = openDialog(
    { title: "New chat", testid: "dialog-new-chat" },
    search.element,
    h("div", { class: "choices" }, group, browse),
  );
  search.input.focus();
}

export function openNewGroup(context) {
  const name = h("input", {
    id: "group-name",
    name: "name",
    maxlength: "100",
    required: true,
    autocomplete: "off",
    dir: "auto",
    dataset: { testid: "group-name" },
  });
  const open = h("input", { id: "group-public", type: "checkbox", dataset: { testid: "group-public" } });
  const picker = peoplePicker(context);
  const create = h(
    "button",
    { type: "submit", class: "button primary", dataset: { testid: "group-create" } },
    "Create group",
  );
  const form = h(
    "form",
    {},
    h("div", { class: "field" }, h("label", { for: "group-name" }, "Name"), name),
    h(
      "label",
      { class: "check", for: "group-public" },
      open,
      h("span", {}, "Public", h("small", {}, "Anybody can find and join it.")),
    ),
    h("h3", {}, "Members"),
    picker.element,
    h("div", { class: "dialog-actions" }, create),
  );
  const dialog = openDialog({ title: "New group", testid: "dialog-new-group" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(create, async () => {
      const body = {
        name: name.value.trim(),
        room_type: "group",
        is_private: !open.checked,
        members: [...picker.picked.keys()],
      };
      const room = await orToast(context.client.rest.post("rooms", body));
      if (room) show(context, room, dialog);
    });
  });
  name.focus();
}

export function openBrowse(context) {
  const { client, store } = context;
  const search = searchList({
    label: "Search public rooms",
    testid: "room-search",
    least: 0,
    hint: "",
    none: "There is no such public room.",
    find: async (text) => (await client.rest.get("rooms/public", { search: text || undefined })).results,
    row: (room) => {
      const member = Boolean(store.rooms.get(room.id)?.role);
      const enter = h(
        "button",
        {
          type: "button",
          class: `button ${member ? "" : "primary"}`,
          dataset: { testid: "join-public", roomId: room.id },
          "aria-label": `${member ? "Open" : "Join"} ${room.name}`,
        },
        member ? "Open" : "Join",
      );
      enter.addEventListener("click", () => busy(enter, () => joinRoom(context, room.id, member, dialog)));
      const about = [room.topic, plural(room.member_count, "member")].filter(Boolean).join(" · ");
      return h(
        "div",
        { class: "row static", dataset: { testid: "public-room", roomId: room.id } },
        avatar(room.id, room.name, { room: true, className: "medium" }),
        h("span", { class: "row-text" }, h("strong", { dir: "auto" }, room.name), h("small", { dir: "auto" }, about)),
        enter,
      );
    },
  });
  const dialog = openDialog({ title: "Public rooms", testid: "dialog-browse" }, search.element);
  search.input.focus();
}

async function joinRoom(context, roomId, member, dialog) {
  const { client, store } = context;
  const joined = member || (await orToast(client.rest.post(`rooms/${roomId}/members`, {}).then(() => true)));
  const room = joined && (await orToast(store.fetchRoom(roomId)));
  if (room) show(context, room, dialog);
}

function show({ store, openChat }, room, dialog) {
  store.put(room);
  dialog.close();
  openChat(room.id);
}
