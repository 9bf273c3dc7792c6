// Puts the page together: the client, the state, the views, and the address bar.

import { ManaClient } from "../mana/mana.js";
import { People } from "../mana/people.js";
import { Banner } from "./banner.js";
import { ChatCalls } from "./callchat.js";
import { ChatView } from "./chat.js";
import { ChatList } from "./chats.js";
import { openContacts, showWaiting } from "./contacts.js";
import { toast } from "./dom.js";
import { Encryption } from "./encryption.js";
import { openInfo } from "./info.js";
import { openInvitations } from "./invitations.js";
import { leaveWith, whileSignedIn } from "./leaving.js";
import { openBrowse, openNewChat } from "./newchat.js";
import { openNotifications, showUnread } from "./notifications.js";
import { openProfile } from "./profile.js";
import { followInvite } from "./roompanel.js";
import { openSettings } from "./settings.js";
import { Store } from "./store.js";

const { userId, username, loginUrl } = document.body.dataset;
const client = new ManaClient({ userId, fetch: whileSignedIn });
const store = new Store(client, { id: userId, username });
const people = new People(client);
const encryption = new Encryption(client, store);
const context = { client, store, people, encryption, openChat, openContacts: () => openContacts(context), showTitle: title };

const chats = new ChatList(store, {
  onOpen: openChat,
  onRetry: start,
  onNew: () => openNewChat(context),
  onInvitations: () => openInvitations(context),
  onSearch: (text) => encryption.search(text),
  onFound: ({ room_id, id }) => (openChat(room_id), chat.showMessage(id)),
});
const calls = new ChatCalls(context);
const chat = new ChatView(store, client, encryption, {
  onBack: back,
  onInfo: (roomId) => openInfo(context, roomId),
  calls,
});
new Banner(client);
encryption.onSettings = () => openSettings(context, "encryption");

/** @param {string} roomId @param {{push?: boolean, focus?: boolean}} [how] push: a step for the back button */
function openChat(roomId, { push = true, focus = true } = {}) {
  if (!store.rooms.has(roomId)) return;
  const address = `?room=${encodeURIComponent(roomId)}`;
  if (push && chat.roomId !== roomId) history.pushState({ fromList: chat.roomId === null }, "", address);
  document.body.dataset.view = "chat";
  chats.select(roomId);
  chat.open(roomId, { focus });
}

function closeChat() {
  const roomId = chat.roomId;
  chat.close();
  document.body.dataset.view = "list";
  chats.select(null);
  if (roomId) chats.focus(roomId);
}

function back() {
  if (history.state?.fromList) {
    history.back();
  } else {
    history.replaceState(null, "", location.pathname);
    closeChat();
  }
}

function showAddress({ focus = true } = {}) {
  const roomId = new URLSearchParams(location.search).get("room");
  if (roomId && store.rooms.has(roomId)) openChat(roomId, { push: false, focus });
  else closeChat();
}

/** Load what is there, then follow what happens from exactly there on. */
async function start() {
  try {
    await encryption.start();
    const cursor = await store.loadRooms();
    showAddress();
    people.start().catch(() => {}); // without it there is no number on the bell
    client.connect({ cursor });
    store.loadInvitations();
    const invite = new URLSearchParams(location.search).get("invite");
    if (invite) await join(invite);
  } catch (error) {
    if (error.status === 401 || error.status === 403) location.assign(loginUrl);
  }
}

async function join(token) {
  history.replaceState(null, "", location.pathname);
  const roomId = await followInvite(context, token);
  if (roomId) openChat(roomId);
}

showUnread(people);
showWaiting(people);
document.getElementById("open-notifications").addEventListener("click", () => openNotifications(context));

function title() {
  document.title = store.unread ? `(${store.unread > 99 ? "99+" : store.unread}) Mana` : "Mana";
}

store.on("rooms", title);
store.on("gone", ({ room, reason }) => {
  if (reason === "removed" || reason === "banned") toast(`You were removed from “${room.name}”.`);
  if (reason === "deleted") toast(`“${room.name}” was deleted.`);
  if (chat.roomId !== room.id) return;
  history.replaceState(null, "", location.pathname);
  closeChat();
});

let wasOnline = false;
client.on("state", ({ state }) => {
  if (state !== "online") return;
  // Presence and receipts are not part of the sync.
  if (wasOnline) store.loadRooms().catch(() => {});
  if (wasOnline) chat.refresh();
  wasOnline = true;
});

addEventListener("popstate", () => showAddress());
leaveWith(document.getElementById("sign-out"), client);
document.getElementById("new-chat").addEventListener("click", () => openNewChat(context));
const menu = document.getElementById("menu");
for (const [id, open] of [
  ["open-profile", openProfile],
  ["open-contacts", openContacts],
  ["open-settings", openSettings],
  ["browse-rooms", openBrowse],
]) {
  document.getElementById(id).addEventListener("click", () => {
    menu.hidePopover();
    open(context);
  });
}

start();
