// The list of chats.

import { summary } from "./content.js";
import { avatar, h, icon, reconcile } from "./dom.js";
import { exactTime, names, payloadText, roomEventText, when } from "./format.js";
import { roomAvatar } from "./roompanel.js";

export class ChatList {
  #store;
  #list = document.getElementById("chat-list");
  #filter = document.getElementById("chat-filter");
  #onOpen;
  #openId = null;
  #showsArchived = false;
  #found = []; // messages with the words of the filter
  #hooks;

  /**
   * @param {{onOpen: (roomId: string) => void, onRetry: () => void, onNew: () => void,
   *   onInvitations: () => void, onSearch: (text: string) => Promise<object[]>, onFound: (event: object) => void}} hooks
   */
  constructor(store, { onOpen, onRetry, onNew, onInvitations, onSearch, onFound }) {
    this.#store = store;
    this.#onOpen = onOpen;
    this.#hooks = { onRetry, onNew, onInvitations, onSearch, onFound };
    store.on("rooms", () => this.render());
    this.#filter.addEventListener("input", () => {
      this.#find();
      this.render();
    });
    this.#filter.addEventListener("keydown", (event) => this.#filterKeys(event));
    this.#list.addEventListener("keydown", (event) => this.#keys(event));
    this.#list.addEventListener("click", (event) => this.#click(event));
    this.render();
    setInterval(() => this.render(), 60_000); // "Yesterday" comes at midnight
  }

  /** Mark one as open. */
  select(roomId) {
    this.#openId = roomId;
    this.render();
  }

  focus(roomId) {
    (this.#link(roomId) ?? this.#links()[0])?.focus();
  }

  render() {
    const store = this.#store;
    const wanted = this.#filter.value.trim().toLocaleLowerCase();
    const named = store.sorted().filter((room) => !wanted || room.name.toLocaleLowerCase().includes(wanted));
    const isArchived = (room) => room.preferences?.archived && room.id !== this.#openId;
    const archived = wanted ? [] : named.filter(isArchived);
    const rooms = this.#showsArchived || wanted ? named : named.filter((room) => !isArchived(room));
    this.#list.setAttribute("aria-busy", String(!store.loaded && !store.failed));
    const found = wanted ? this.#found.filter((event) => store.rooms.has(event.room_id)) : [];
    const items = rooms.length || found.length ? rooms.map((room) => this.#item(room)) : [this.#placeholder(wanted)];
    items.push(...found.map((event) => this.#foundRow(event)));
    if (archived.length) items.push(this.#archiveRow(archived.length));
    if (store.invitations.length && !wanted) items.unshift(this.#invitationsRow(store.invitations.length));
    reconcile(this.#list, items);
    const links = this.#links();
    const current = links.find((link) => link === document.activeElement) ?? this.#link(this.#openId) ?? links[0];
    for (const link of links) link.tabIndex = link === current ? 0 : -1;
  }

  /** Encrypted messages are looked for here, where they can be read. */
  async #find() {
    const wanted = this.#filter.value.trim();
    const found = wanted.length < 2 ? [] : await this.#hooks.onSearch(wanted).catch(() => []);
    if (wanted !== this.#filter.value.trim()) return; // the text has changed since
    this.#found = found;
    this.render();
  }

  #foundRow(event) {
    const store = this.#store;
    const who = String(event.from) === store.me.id ? "You" : store.nameOf(event.from, event.username);
    const text = `${store.rooms.get(event.room_id).name} · ${who} · ${when(event.timestamp)}`;
    return {
      key: `found ${event.id} ${text}`,
      create: () =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "found-message", dataset: { testid: "found-message" }, onclick: () => this.#hooks.onFound(event) },
            h("small", { dir: "auto" }, text),
            h("span", { dir: "auto" }, summary(event).slice(0, 200)),
          ),
        ),
    };
  }

  #invitationsRow(count) {
    return {
      key: `invitations ${count}`,
      create: () =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "archive-row invitations-row",
              dataset: { testid: "show-invitations" },
              onclick: () => this.#hooks.onInvitations(),
            },
            icon("user-plus"),
            h("span", {}, "Invitations"),
            h("span", { class: "badge" }, count),
          ),
        ),
    };
  }

  #archiveRow(count) {
    const text = this.#showsArchived ? "Hide archived chats" : `Archived chats (${count})`;
    const toggle = () => {
      this.#showsArchived = !this.#showsArchived;
      this.render();
    };
    return {
      key: `archive ${text}`,
      create: () =>
        h(
          "li",
          {},
          h("button", { type: "button", class: "archive-row", dataset: { testid: "show-archived" }, onclick: toggle }, icon("archive"), text),
        ),
    };
  }

  #placeholder(wanted) {
    const { failed, loaded } = this.#store;
    if (failed) {
      const again = h("button", { type: "button", class: "button", onclick: () => this.#hooks.onRetry() }, "Try again");
      return {
        key: `failed ${failed.message}`,
        create: () => h("li", { class: "list-note" }, h("p", {}, failed.message), again),
      };
    }
    if (!loaded)
      return {
        key: "loading",
        create: () =>
          h("li", { class: "list-skeleton", "aria-label": "Loading chats" }, ...Array.from({ length: 6 }, skeleton)),
      };
    if (wanted)
      return { key: "none", create: () => h("li", { class: "list-note" }, h("p", {}, "No chat has that name.")) };
    const begin = h(
      "button",
      { type: "button", class: "button primary", onclick: () => this.#hooks.onNew() },
      "Start a chat",
    );
    return {
      key: "empty",
      create: () =>
        h(
          "li",
          { class: "list-note" },
          h("p", {}, h("strong", {}, "No chats yet"), h("br"), "Find somebody by name, or join a public room."),
          begin,
        ),
    };
  }

  #item(room) {
    return {
      key: `room ${room.id}`,
      create: () => this.#create(room),
      update: (element) => this.#update(element, room),
    };
  }

  #create(room) {
    const link = h(
      "a",
      {
        class: "chat-item",
        href: `?room=${encodeURIComponent(room.id)}`,
        dataset: { testid: "chat-item", roomId: room.id },
      },
      h("span", { class: "chat-item-avatar" }),
      h("span", { class: "chat-item-name", dir: "auto", dataset: { testid: "chat-name" } }),
      h("time", { class: "chat-item-time", dataset: { testid: "chat-time" } }),
      h("span", { class: "chat-item-preview", dir: "auto", dataset: { testid: "chat-preview" } }),
      h(
        "span",
        { class: "chat-item-marks" },
        h("span", { class: "badge mention-badge", title: "You are mentioned", dataset: { testid: "chat-mention" } }, "@"),
        h("span", { class: "pin-mark", title: "Pinned" }, icon("pin")),
        h(
          "span",
          { class: "badge", dataset: { testid: "chat-unread" } },
          h("span", { "aria-hidden": "true" }),
          h("span", { class: "visually-hidden" }),
        ),
      ),
    );
    return h("li", {}, link);
  }

  #update(item, room) {
    const link = item.firstElementChild;
    const [avatarBox, name, time, preview, marks] = link.children;
    const [mention, pin, badge] = marks.children;
    const online = Boolean(room.peer?.online);
    const look = `${room.name} ${online} ${room.avatar}`;
    if (avatarBox.dataset.look !== look) {
      avatarBox.dataset.look = look;
      avatarBox.replaceChildren(
        room.room_type === "direct" ? avatar(room.peer?.user_id ?? room.id, room.name, { online }) : roomAvatar(room),
        online ? h("span", { class: "visually-hidden" }, "online") : "",
      );
    }
    name.textContent = room.name;
    const last = lastOf(room);
    const at = last?.timestamp ?? room.created_at;
    time.textContent = at ? when(at) : "";
    time.dateTime = at ?? "";
    time.title = at ? exactTime(at) : "";
    const typers = [...(this.#store.typing.get(room.id)?.values() ?? [])];
    preview.textContent = typers.length ? typingText(room, typers) : this.#preview(room);
    preview.classList.toggle("typing", typers.length > 0);
    badge.hidden = !room.unread;
    badge.children[0].textContent = room.unread > 99 ? "99+" : room.unread;
    badge.children[1].textContent = `${room.unread} unread`;
    badge.classList.toggle("quiet", room.preferences?.notifications === "none");
    mention.hidden = !room.unread_mentions;
    pin.hidden = !room.preferences?.pinned || room.unread > 0;
    link.classList.toggle("unread", room.unread > 0);
    if (room.id === this.#openId) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }

  #preview(room) {
    const store = this.#store;
    const waiting = store.outgoing(room.id).at(-1);
    if (waiting) return `${waiting.status === "failed" ? "Not sent" : "You"}: ${oneLine(waiting.payload)}`;
    const last = lastOf(room);
    if (!last) return room.topic || (room.role ? "No messages yet" : "You are invited");
    if (last.type === "room") return roomEventText(last, (id, name) => store.nameOf(id, name), store.me.id);
    const mine = String(last.from) === store.me.id;
    const who = mine ? "You: " : room.room_type === "direct" ? "" : `${store.nameOf(last.from, last.username)}: `;
    return who + summary(last).slice(0, 200);
  }

  #links() {
    return [...this.#list.querySelectorAll(".chat-item")];
  }

  #link(roomId) {
    return this.#links().find((link) => link.dataset.roomId === roomId);
  }

  #click(event) {
    const link = event.target.closest(".chat-item");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.#onOpen(link.dataset.roomId);
  }

  #keys(event) {
    const links = this.#links();
    const at = links.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    if (to < 0) this.#filter.focus();
    else if (to < links.length) this.#move(links, to);
  }

  #move(links, to) {
    for (const link of links) link.tabIndex = -1;
    links[to].tabIndex = 0;
    links[to].focus();
  }

  #filterKeys(event) {
    const links = this.#links();
    if (event.key === "ArrowDown" && links.length) {
      event.preventDefault();
      this.#move(links, 0);
    } else if (event.key === "Enter" && links.length && this.#filter.value.trim()) {
      this.#onOpen(links[0].dataset.roomId);
    }
  }
}

export function typingText(room, typers) {
  if (room.room_type === "direct") return "typing…";
  return `${names(typers)} ${typers.length === 1 ? "is" : "are"} typing…`;
}

function lastOf(room) {
  const { last_message: message, last_event: event } = room;
  return event && !(message?.sequence > event.sequence) ? event : message;
}

function oneLine(payload) {
  return payloadText(payload).text.replace(/\s+/g, " ").slice(0, 200);
}

function skeleton() {
  return h(
    "span",
    { class: "skeleton-row" },
    h("span", { class: "skeleton circle" }),
    h("span", { class: "skeleton line" }),
    h("span", { class: "skeleton line short" }),
  );
}
