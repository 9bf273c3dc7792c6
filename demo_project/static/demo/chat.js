// The open chat: its head, the log, who types, and the composer.

import { typingText } from "./chats.js";
import { Composer } from "./composer.js";
import { avatar, h, icon, iconButton, orToast, toast } from "./dom.js";
import { lastSeen, plural } from "./format.js";
import { Log } from "./log.js";
import { openMessageMenu } from "./messagemenu.js";
import { PinBar } from "./pins.js";
import { roomAvatar } from "./roompanel.js";

export class ChatView {
  roomId = null;
  #store;
  #client;
  #main = document.getElementById("chat");
  #avatar = h("span", { class: "chat-head-avatar" });
  #title = h("h2", { dir: "auto", tabindex: "-1", dataset: { testid: "chat-title" } });
  #subtitle = h("p", { dir: "auto", dataset: { testid: "chat-subtitle" } });
  #typing = h("p", { class: "typing-line", "aria-live": "polite", dir: "auto", dataset: { testid: "typing" } });
  #joinBar = h(
    "div",
    { class: "join-bar", dataset: { testid: "join-bar" }, hidden: true },
    h("p", {}, "You are invited to this room."),
    h(
      "button",
      { type: "button", class: "button primary", dataset: { testid: "join-room" }, onclick: () => this.#join() },
      "Join",
    ),
  );
  #barred = h("p", { class: "join-bar", role: "status", hidden: true, dataset: { testid: "barred" } });
  #log;
  #composer;
  #pins;
  #calls;
  #encryption;
  #empty = h(
    "div",
    { class: "chat-empty", dataset: { testid: "chat-empty" } },
    icon("chats", "chat-empty-icon"),
    h("p", {}, h("strong", {}, "Choose a chat"), h("br"), "or start a new one."),
  );
  #frame;

  /** @param {{onBack: () => void, onInfo: (roomId: string) => void, calls?: import("./callchat.js").ChatCalls}} hooks */
  constructor(store, client, encryption, hooks) {
    this.#store = store;
    this.#encryption = encryption;
    this.#client = client;
    this.#calls = hooks.calls;
    this.#log = new Log(store, {
      calls: hooks.calls,
      onOlder: () => this.#older(),
      onEnd: () => this.#seen(),
      onRetry: (ackId) => client.retry(ackId),
      onDiscard: (ackId) => client.discard(ackId),
      onReload: () => this.#load(),
      onReact: (event, emoji, remove) => orToast(encryption.react(event, emoji, { remove })),
      onMenu: (event, anchor) => this.#menu(event, anchor),
      onQuote: (messageId) => this.#showQuoted(messageId),
    });
    const context = { client, store, upload: (file, options) => encryption.upload(this.roomId, file, options) };
    this.#composer = new Composer(context, {
      onSend: (message) => this.#send(message),
      onEdit: (event, text, mentions) => this.#edit(event, text, mentions),
      onEditLast: () => this.#editLast(),
      onTyping: (active) => client.typing(this.roomId, active),
      members: () => this.#mentionable(),
    });
    this.#pins = new PinBar(context, { onShow: (messageId) => this.#showQuoted(messageId) });
    const about = iconButton("info", "About this chat", "chat-info", () => hooks.onInfo(this.roomId));
    const back = iconButton("back", "Back to the chats", "chat-back", () => hooks.onBack());
    back.classList.add("chat-back");
    const head = h(
      "header",
      { class: "chat-head" },
      back,
      this.#avatar,
      h("div", { class: "chat-names" }, this.#title, this.#subtitle),
      encryption.lock.element,
      ...(hooks.calls?.tools ?? []),
      about,
    );
    this.#frame = h(
      "div",
      { class: "chat-frame" },
      head,
      hooks.calls?.banner,
      encryption.bar.element,
      this.#pins.element,
      this.#log.element,
      this.#typing,
      this.#joinBar,
      this.#barred,
      this.#composer.element,
    );
    this.#main.append(this.#empty, this.#frame);
    this.#dropFiles();
    this.#frame.hidden = true;
    store.isViewing = (roomId) =>
      roomId === this.roomId && this.#log.atEnd && document.visibilityState === "visible" && document.hasFocus();
    store.on("rooms", () => this.#renderHead());
    store.on("typing", (roomId) => roomId === this.roomId && this.#renderTyping());
    store.on("thread", (roomId) => roomId === this.roomId && this.#threadChanged());
    for (const type of ["focus", "visibilitychange"]) {
      (type === "focus" ? window : document).addEventListener(type, () => this.#seen());
    }
    setInterval(() => this.#renderHead(), 30_000); // "last seen 5 min ago"
  }

  /** @param {boolean} [focus] move the focus into the chat */
  open(roomId, { focus = true } = {}) {
    const room = this.#store.rooms.get(roomId);
    if (!room) return;
    if (this.roomId && this.roomId !== roomId) this.#leave();
    this.roomId = roomId;
    this.#empty.hidden = true;
    this.#frame.hidden = false;
    this.#renderHead();
    this.#renderTyping();
    this.#composer.open(roomId);
    this.#log.open(room);
    this.#pins.open(room);
    this.#encryption.open(roomId);
    this.#load();
    if (!focus) return;
    if (matchMedia("(pointer: coarse)").matches || !room.role) this.#title.focus({ preventScroll: true });
    else this.#composer.focus();
  }

  close() {
    if (this.roomId) this.#leave();
    this.roomId = null;
    this.#encryption.open(null);
    this.#empty.hidden = false;
    this.#frame.hidden = true;
  }

  /** Bring a message of the open chat into view. */
  async showMessage(messageId) {
    await this.#store.loadThread(this.roomId);
    await this.#showQuoted(messageId);
  }

  /** After a reconnect: receipts are not sequenced, so those of the time between are read from the members. */
  refresh() {
    if (this.roomId) this.#store.loadMembers(this.roomId).catch(() => {});
  }

  #leave() {
    this.#client.typing(this.roomId, false);
    this.#store.thread(this.roomId).trim();
  }

  async #load() {
    const roomId = this.roomId;
    await this.#store.loadThread(roomId);
    if (roomId === this.roomId) this.#log.loaded();
  }

  async #older() {
    const roomId = this.roomId;
    const thread = roomId && this.#store.thread(roomId);
    if (!thread?.loaded || thread.loading || thread.failed || !thread.hasMore) return;
    this.#log.quiet(true);
    await this.#store.loadOlder(roomId);
    if (roomId === this.roomId) this.#log.quiet(false);
  }

  #threadChanged() {
    const thread = this.#store.thread(this.roomId);
    if (!thread.loaded && !thread.loading && !thread.failed) this.#load();
    this.#log.render();
    this.#renderHead();
    this.#composer.membersChanged();
  }

  #send({ text, ...more }) {
    this.#log.clearDivider();
    if (!more.mentions.length) delete more.mentions;
    this.#encryption.send(this.roomId, { text, ...more });
    this.#log.toEnd();
  }

  #edit(event, text, mentions) {
    if (text !== event.payload.text) orToast(this.#encryption.edit(event, text, mentions));
  }

  #menu(event, anchor) {
    const context = {
      client: this.#client,
      store: this.#store,
      encryption: this.#encryption,
      onReply: (message) => this.#composer.reply(message, this.#nameOf(message)),
      onEdit: (message) => this.#composer.edit(message),
    };
    openMessageMenu(context, this.#store.rooms.get(this.roomId), event, anchor);
  }

  #nameOf(message) {
    const own = String(message.from) === this.#store.me.id;
    return own ? "yourself" : this.#store.nameOf(message.from, message.username);
  }

  /** Arrow up in an empty field: the last message once more. */
  #editLast() {
    const own = (event) => event.type === "message" && String(event.from) === this.#store.me.id && !event.deleted;
    const last = this.#store.thread(this.roomId).events.findLast(own);
    if (last?.payload?.text) this.#composer.edit(last);
  }

  /** Whom one may mention here: everybody, and in groups all at once. */
  #mentionable() {
    const room = this.#store.rooms.get(this.roomId);
    if (!room || room.room_type === "direct") return [];
    const members = [...this.#store.thread(room.id).members.values()].filter((one) => String(one.user_id) !== this.#store.me.id);
    const manages = ["owner", "admin", "moderator"].includes(room.role);
    return manages ? [...members, { user_id: "@all", username: "all", display_name: "Everybody" }] : members;
  }

  /** Go to a message that another one answers, or that is pinned; load what lies between. */
  async #showQuoted(messageId) {
    const { roomId } = this;
    const thread = this.#store.thread(roomId);
    for (let pages = 0; !thread.message(messageId) && thread.hasMore && pages < 20; pages += 1) {
      await this.#store.loadOlder(roomId);
      if (roomId !== this.roomId) return;
    }
    this.#log.render();
    if (!this.#log.show(messageId)) toast("This message is not there any more, or from before your time.");
  }

  /** Files that are dragged over the chat land in the composer. */
  #dropFiles() {
    const carries = (event) => event.dataTransfer?.types.includes("Files") && !this.#composer.element.hidden;
    this.#frame.addEventListener("dragover", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      this.#frame.classList.add("dropping");
    });
    this.#frame.addEventListener("dragleave", (event) => {
      if (!this.#frame.contains(event.relatedTarget)) this.#frame.classList.remove("dropping");
    });
    this.#frame.addEventListener("drop", (event) => {
      this.#frame.classList.remove("dropping");
      if (!carries(event)) return;
      event.preventDefault();
      this.#composer.attach(event.dataTransfer.files);
    });
  }

  #seen() {
    const { roomId } = this;
    if (roomId && this.#store.thread(roomId).loaded && this.#store.isViewing(roomId)) this.#store.markRead(roomId);
  }

  async #join() {
    const { roomId } = this;
    const done = await orToast(this.#client.rest.post(`rooms/${roomId}/members`, {}).then(() => true));
    if (done) await orToast(this.#store.fetchRoom(roomId));
    if (done) this.open(roomId);
  }

  #renderHead() {
    const room = this.#store.rooms.get(this.roomId);
    if (!room) return;
    const online = Boolean(room.peer?.online);
    const look = `${room.id} ${room.name} ${online} ${room.avatar}`;
    if (this.#avatar.dataset.look !== look) {
      this.#avatar.dataset.look = look;
      this.#avatar.replaceChildren(
        room.room_type === "direct" ? avatar(room.peer?.user_id ?? room.id, room.name, { online }) : roomAvatar(room),
      );
    }
    this.#title.textContent = room.name;
    this.#subtitle.textContent = this.#about(room);
    this.#subtitle.classList.toggle("online", online);
    this.#joinBar.hidden = Boolean(room.role);
    const barred = barredFrom(room);
    this.#composer.element.hidden = !room.role || barred !== "";
    this.#barred.hidden = !room.role || barred === "";
    this.#barred.textContent = barred;
    this.#calls?.show(room);
  }

  #about(room) {
    if (room.room_type === "direct") return room.peer ? lastSeen(room.peer) : "";
    const members = [...this.#store.thread(room.id).members.values()];
    const online = members.filter((member) => member.online).length;
    const parts = [plural(members.length || room.member_count || 0, "member")];
    if (online > 1) parts.push(`${online} online`);
    if (room.topic) parts.push(room.topic);
    return parts.join(" · ");
  }

  #renderTyping() {
    const typers = [...(this.#store.typing.get(this.roomId)?.values() ?? [])];
    const room = this.#store.rooms.get(this.roomId);
    if (!typers.length || !room) {
      this.#typing.replaceChildren();
      return;
    }
    const text = room.room_type === "direct" ? `${typers[0]} is ${typingText(room, typers)}` : typingText(room, typers);
    this.#typing.replaceChildren(
      h("span", { class: "typing-dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
      h("span", {}, text),
    );
  }
}

/** Why the user can't write here, or nothing. */
function barredFrom(room) {
  const manages = ["owner", "admin", "moderator"].includes(room.role);
  if (room.muted_until && Date.parse(room.muted_until) > Date.now()) return "You are muted in this room.";
  if (room.is_frozen && !["owner", "admin"].includes(room.role)) return "This room is frozen.";
  if (room.room_type === "channel" && !manages) return "Only moderators write in this channel.";
  return "";
}
