// Calls in the messenger: the buttons of a chat, the banner of a call that goes on, its rows in the log, and the view.

import { Calls } from "../mana_rtc/calls.js";
import { CallLog, callItem, openCallHistory } from "./callhistory.js";
import { Rings } from "./callring.js";
import { callOptions, callPreferences } from "./callsettings.js";
import { CallView } from "./callview.js";
import { h, icon, iconButton, orToast } from "./dom.js";
import { names } from "./format.js";

const LOOK = 10_000; // ms between two looks at a call that goes on without us: nobody tells us of its end

export class ChatCalls {
  /** For the head of the chat. */
  tools;
  #context;
  #calls;
  #view;
  #log;
  #room = null;
  #text = h("p", { dir: "auto" });
  #join = h("button", { type: "button", class: "button primary", dataset: { testid: "call-join" }, onclick: () => this.#enter() }, "Join");
  /** Below the head of the chat. */
  banner = h("div", { class: "call-banner", role: "status", hidden: true, dataset: { testid: "call-banner" } }, icon("phone"), this.#text, this.#join);

  constructor(context) {
    this.#context = context;
    const { client, store, encryption } = context;
    const options = { ...callOptions(), mustEncrypt: async (roomId) => Boolean((await encryption.settled(roomId))?.forever) };
    // The client with encryption comes later, and can encrypt only when this device is linked.
    Object.defineProperty(options, "keyTransport", { get: () => encryption.keyTransport });
    this.#calls = context.calls = new Calls(client, options);
    this.#log = new CallLog(client, (roomId) => store.changed(roomId));
    context.startCall = (roomId, video) => this.#start(roomId, video);
    const voice = iconButton("phone", "Voice call", "call-voice", () => this.#start(this.#room.id, false));
    const video = iconButton("video", "Video call", "call-video", () => this.#start(this.#room.id, true));
    this.tools = [voice, video];
    this.#view = new CallView(context);
    new Rings(context, this.#calls, { onAnswer: (call, options) => this.#answer(call, options) });
    this.#calls.on("current", (call) => this.#current(call));
    this.#calls.on("live", () => this.#render());
    this.#calls.on("over", ({ room_id }) => room_id === this.#room?.id && this.#log.load(room_id));
    setInterval(() => !this.banner.hidden && !this.#calls.current && this.#calls.refresh().catch(() => {}), LOOK);
    document.getElementById("open-calls").addEventListener("click", () => {
      document.getElementById("menu").hidePopover();
      openCallHistory(context);
    });
  }

  /** The chat shows this room, or knows something new of it. */
  show(room) {
    const other = this.#room?.id !== room.id;
    this.#room = room;
    if (other) this.#log.load(room.id);
    this.#render();
  }

  /** Rows of the log. */
  rows(roomId) {
    return this.#log.rows(roomId);
  }

  item(event) {
    return callItem(event, { onCall: (video) => this.#start(this.#room.id, video) });
  }

  async #start(roomId, video) {
    const { current, live } = this.#calls;
    if (current?.roomId === roomId) return this.#view.open();
    const there = live.get(roomId);
    if (!there) return orToast(this.#ring(roomId, video));
    // It may be over by now: who hangs up and calls again at once wants another one.
    const over = ({ code }) => ["ended", "conflict", "not_found"].includes(code);
    return orToast(this.#calls.join(there.call_id, { video }).catch((error) => (over(error) ? this.#ring(roomId, video) : Promise.reject(error))));
  }

  async #ring(roomId, video) {
    const room = this.#context.store.rooms.get(roomId);
    const peer = room.room_type === "direct" ? room.peer?.user_id : undefined;
    const to = peer === undefined ? undefined : String(peer);
    // A call in an encrypted chat is encrypted as well.
    const encrypted = Boolean((await this.#context.encryption.settled(roomId))?.encrypted);
    return this.#calls.start({ to, room_id: roomId, video, encrypted });
  }

  #enter() {
    const live = this.#calls.live.get(this.#room.id);
    if (live) orToast(this.#calls.join(live.call_id, { video: false }));
  }

  #answer(call, options) {
    this.#context.openChat(call.roomId, { focus: false });
    orToast(call.answer(options));
  }

  #current(call) {
    this.#view.show(call);
    if (call) call.on("ended", () => this.#log.load(call.roomId));
    const { speaker } = callPreferences();
    if (call && speaker) this.#view.setSpeaker(speaker);
    this.#render();
  }

  #render() {
    const room = this.#room;
    if (!room) return;
    const live = this.#calls.live.get(room.id);
    const inIt = this.#calls.current?.roomId === room.id;
    const rings = live && this.#calls.ringing.has(live.call_id);
    const direct = room.room_type === "direct";
    this.banner.hidden = inIt || !live || rings || (direct && !live.users.size); // the call's own window says that we are in it
    for (const tool of this.tools) tool.hidden = !room.role || room.room_type === "channel";
    if (this.banner.hidden) return;
    const { store } = this.#context;
    const people = [...(live?.users ?? [])].filter((id) => id !== store.me.id).map((id) => store.nameOf(id));
    const text = people.length ? `Call in progress: ${names(people, 3)}` : "Call in progress on another device of yours.";
    if (this.#text.textContent !== text) this.#text.textContent = text;
  }
}
