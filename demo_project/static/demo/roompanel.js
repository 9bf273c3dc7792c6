// What one may do about a group: its picture, its links, what members may do, and how one wants it for oneself.

import { busy, confirmed, openDialog } from "./dialog.js";
import { avatar, h, icon, orToast, toast } from "./dom.js";

const DAY = 86_400_000; // ms
const RANK = { member: 0, moderator: 1, admin: 2, owner: 3 };

/** The picture of a group, or its sign. */
export function roomAvatar(room, className = "") {
  if (!room.avatar) return avatar(room.id, room.name, { room: true, className });
  const src = `/api/rooms/${encodeURIComponent(room.id)}/avatar?v=${encodeURIComponent(room.avatar)}`;
  return h("span", { class: `avatar ${className}`, "aria-hidden": "true" }, h("img", { src, alt: "" }));
}

function put({ client, store }, room, path, body) {
  return orToast(client.rest.request("PUT", path, { body }).then(() => store.loadMembers(room.id).catch(() => {})));
}

/** Picture: chosen from a file. */
export function choosePicture({ client, store }, room) {
  const input = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif" });
  input.addEventListener("change", async () => {
    const form = new FormData();
    form.append("file", input.files[0]);
    const changed = await orToast(client.rest.request("PUT", `rooms/${room.id}/avatar`, { form }));
    if (changed) store.put(changed);
    store.changed(room.id);
  });
  input.click();
}

/** A link to hand out: the newest open one, or a new one. */
export async function inviteLink({ client }, room) {
  const open = await orToast(client.rest.get(`rooms/${room.id}/invites`));
  if (!open) return;
  const invite = open.results[0] ?? (await orToast(client.rest.post(`rooms/${room.id}/invites`, {})));
  if (!invite) return;
  const link = h("input", { id: "invite-link", readonly: true, value: `${location.origin}/?invite=${invite.token}` });
  const ends = invite.expires_at ? `until ${new Date(invite.expires_at).toLocaleString()}` : "for ever";
  const copy = h("button", { type: "button", class: "button primary", dataset: { testid: "invite-copy" } }, "Copy");
  const close = h("button", { type: "button", class: "button", dataset: { testid: "invite-revoke" } }, "Close this link");
  const dialog = openDialog(
    { title: "Invitation link", testid: "dialog-invite", className: "narrow" },
    h("p", {}, `Whoever has this link can join, ${ends}.`),
    h("div", { class: "field" }, h("label", { for: "invite-link" }, "Link"), link),
    h("div", { class: "dialog-actions" }, close, copy),
  );
  link.select();
  copy.addEventListener("click", async () => {
    link.select();
    await navigator.clipboard?.writeText(link.value).then(
      () => toast("Copied."),
      () => toast("Press Ctrl+C to copy."),
    );
  });
  close.addEventListener("click", () =>
    busy(close, async () => {
      const done = await orToast(client.rest.delete(`rooms/${room.id}/invites/${invite.id}`).then(() => true));
      if (!done) return;
      dialog.close();
      toast("The link does not work any more.");
    }),
  );
}

/** What `?invite=` in the address leads to. @returns {Promise<string | null>} the room that was joined */
export async function followInvite({ client, store }, token) {
  const found = await orToast(client.rest.get(`invites/${encodeURIComponent(token)}`));
  if (!found) return null;
  if (!found.is_member) {
    const yes = await confirmed(`Join “${found.name}”?`, `${found.topic || "You were sent a link to this group."}`, "Join");
    if (!yes) return null;
    const room = await orToast(client.rest.post(`invites/${encodeURIComponent(token)}`, {}));
    if (!room) return null;
    store.put(room);
  }
  return found.room_id;
}

/** How the user wants the room: pinned, archived, quiet. */
export function ownWay({ client, store }, room) {
  const wants = room.preferences ?? {};
  const change = async (change) => {
    const changed = await orToast(client.rest.patch(`rooms/${room.id}/preferences`, change));
    if (changed) room.preferences = changed;
    store.changed(room.id);
    store.put(room);
  };
  const toggle = (name, label, testid, on, turn) =>
    h(
      "button",
      { type: "button", class: "row", role: "switch", "aria-checked": String(on), dataset: { testid }, onclick: () => change(turn) },
      h("span", { class: "row-icon" }, icon(name)),
      h("span", { class: "row-text" }, h("strong", {}, label)),
      h("span", { class: "switch", "aria-hidden": "true" }),
    );
  const quiet = wants.notifications === "none";
  return [
    toggle("pin", "Keep at the top", "room-pin", Boolean(wants.pinned), { pinned: !wants.pinned }),
    toggle("bell-off", "Mute notifications", "room-quiet", quiet, { notifications: quiet ? "default" : "none" }),
    toggle("archive", "Archive", "room-archive", Boolean(wants.archived), { archived: !wants.archived }),
  ];
}

/** Settings that hold for everybody: who writes, how often. */
export function roomSettings(context, room) {
  const { client, store } = context;
  const frozen = h("input", { type: "checkbox", name: "is_frozen", checked: Boolean(room.is_frozen) });
  const slow = h(
    "select",
    { id: "room-slow", name: "slow_mode" },
    ...[[0, "Off"], [10, "10 seconds"], [60, "1 minute"], [600, "10 minutes"], [3600, "1 hour"]].map(([value, text]) =>
      h("option", { value, selected: value === (room.slow_mode ?? 0) }, text),
    ),
  );
  const save = h("button", { type: "submit", class: "button primary" }, "Save");
  const form = h(
    "form",
    {},
    h("label", { class: "check" }, frozen, h("span", {}, "Frozen", h("small", {}, "Only owners and admins write."))),
    h("div", { class: "field" }, h("label", { for: "room-slow" }, "Slow mode"), slow),
    h("div", { class: "dialog-actions" }, save),
  );
  const dialog = openDialog({ title: "Settings of the group", testid: "dialog-room-settings", className: "narrow" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(save, async () => {
      const wanted = { is_frozen: frozen.checked, slow_mode: Number(slow.value) };
      const changed = await orToast(client.rest.patch(`rooms/${room.id}`, wanted));
      if (!changed) return;
      store.put(changed);
      store.changed(room.id);
      dialog.close();
    });
  });
}

/** Everything that one may do about a member, as a small dialog. */
export function memberActions(context, room, member) {
  const { client } = context;
  const id = String(member.user_id);
  const name = member.display_name || member.username;
  const above = (RANK[room.role] ?? 0) > (RANK[member.role] ?? 0);
  const path = `rooms/${room.id}/members/${id}`;
  const muted = member.muted_until && Date.parse(member.muted_until) > Date.now();
  const row = (sign, text, testid, act, className = "") =>
    h(
      "button",
      {
        type: "button",
        class: `row ${className}`,
        dataset: { testid },
        onclick: () => {
          dialog.close();
          act();
        },
      },
      h("span", { class: "row-icon" }, icon(sign)),
      h("span", { class: "row-text" }, h("strong", {}, text)),
    );
  const refresh = () => context.store.loadMembers(room.id).catch(() => {});
  const rest = (work) => orToast(work.then(refresh));
  const setRole = (role) => rest(client.rest.patch(path, { role }));
  const roles = room.role === "owner" ? ["admin", "moderator", "member"] : room.role === "admin" ? ["moderator", "member"] : [];
  const asked = async (title, text, yes, act) => (await confirmed(title, text, yes)) && act();
  const dialog = openDialog(
    { title: name, testid: "dialog-member", className: "narrow" },
    h(
      "div",
      { class: "choices" },
      ...(above ? roles : [])
        .filter((role) => role !== member.role)
        .map((role) => row("user", `Make ${role}`, `member-role-${role}`, () => setRole(role))),
      room.role === "owner" &&
        row("crown", "Give them the group", "member-owner", () =>
          asked(`Give the group to ${name}?`, "They will own it, and you will be an admin.", "Give", () =>
            put(context, room, `rooms/${room.id}/owner`, { user_id: id }),
          ),
        ),
      above &&
        (muted
          ? row("bell", "Let them write", "member-unmute", () => rest(client.rest.delete(`${path}/mute`)))
          : row("mute", "Mute for a day", "member-mute", () =>
              put(context, room, `${path}/mute`, { until: new Date(Date.now() + DAY).toISOString() }),
            )),
      above &&
        row(
          "remove",
          "Remove",
          "member-remove",
          () =>
            asked(`Remove ${name}?`, `${name} will no longer see what is written in “${room.name}”.`, "Remove", () =>
              rest(client.rest.delete(path)),
            ),
          "danger",
        ),
      above &&
        row(
          "ban",
          "Ban",
          "member-ban",
          () =>
            asked(`Ban ${name}?`, `${name} can't come back until the ban is lifted.`, "Ban", () =>
              rest(client.rest.post(`rooms/${room.id}/bans`, { user_id: id })),
            ),
          "danger",
        ),
    ),
  );
}

/** The end of a group. */
export async function deleteRoom({ client, store }, room, dialog) {
  const sure = await confirmed("Delete the group?", `“${room.name}” and everything in it goes, for everybody.`, "Delete");
  if (!sure) return;
  const gone = await orToast(client.rest.delete(`rooms/${room.id}`).then(() => true));
  if (!gone) return;
  dialog.close();
  store.forget(room.id, "left");
}
