// Rooms that others have invited the user to: to be joined or declined.

import { openDialog } from "./dialog.js";
import { avatar, h, orToast } from "./dom.js";
import { plural } from "./format.js";

/** @param {{client: object, store: object, openChat: (roomId: string) => void}} context */
export function openInvitations({ client, store, openChat }) {
  const list = h("ul", { class: "results" });
  const dialog = openDialog({ title: "Invitations", testid: "dialog-invitations" }, list);
  const answered = async (room, work) => {
    const done = await orToast(work.then((answer) => answer ?? true));
    if (!done) return;
    await store.loadInvitations();
    if (done.id) {
      store.put(done);
      dialog.close();
      openChat(room.id);
    } else if (store.invitations.length) render();
    else dialog.close();
  };
  const button = (text, testid, className, act) =>
    h("button", { type: "button", class: `button ${className}`, dataset: { testid }, onclick: act }, text);
  const row = (room) =>
    h(
      "li",
      { class: "row static", dataset: { testid: "invitation", roomId: room.id } },
      avatar(room.id, room.name, { room: true, className: "medium" }),
      h("span", { class: "row-text" }, h("strong", { dir: "auto" }, room.name), h("small", {}, plural(room.member_count, "member"))),
      button("Decline", "invitation-decline", "", () => answered(room, client.rest.delete(`invitations/${room.id}`))),
      button("Join", "invitation-join", "primary", () => answered(room, client.rest.post(`invitations/${room.id}`, {}))),
    );
  const render = () => list.replaceChildren(...store.invitations.map(row));
  render();
}
