// The call on the screen: its head, the tiles, what went wrong, and the controls. It can shrink while one chats.

import { openCallMember, openCallSettings } from "./callsettings.js";
import { ended, ringing } from "./callsounds.js";
import { Tiles } from "./calltiles.js";
import { h, icon, iconButton, orToast, toast } from "./dom.js";
import { duration } from "./format.js";

const STATES = { calling: "Calling…", connecting: "Connecting…", reconnecting: "Reconnecting…" };
const SOURCES = ["microphone", "camera"];

export class CallView {
  #context;
  #call = null;
  #stop = [];
  #silence = null;
  #timer = null;
  #title = h("h2", { dir: "auto", tabindex: "-1", dataset: { testid: "call-title" } });
  #status = h("p", { role: "status", dataset: { testid: "call-status" } });
  #time = h("span", { role: "timer", "aria-live": "off", class: "call-time", dataset: { testid: "call-time" } });
  #secure = h("span", { class: "call-secure", title: "End-to-end encrypted", dataset: { testid: "call-secure" }, hidden: true }, icon("lock"), h("span", { class: "visually-hidden" }, "end-to-end encrypted"));
  #recording = h("span", { class: "call-recording", role: "status", dataset: { testid: "call-recording" }, hidden: true });
  #notices = h("div", { class: "call-notices", role: "alert", dataset: { testid: "call-notices" } });
  #buttons = {};
  #tiles;
  #element;

  constructor(context) {
    this.#context = context;
    this.#tiles = new Tiles(context, { onPin: (userId) => this.#pin(userId), onMore: (userId) => openCallMember(context, this.#call, userId) });
    const shrink = iconButton("minimise", "Back to the chats", "call-minimise", () => this.#minimise(true));
    const grow = iconButton("maximise", "Back to the call", "call-return", () => this.#minimise(false));
    const settings = iconButton("gear", "Devices and people", "call-settings", () => openCallSettings(context, this.#call, this.#tiles));
    const control = (name, label, testid, onclick) => (this.#buttons[name] = h("button", { type: "button", class: "round", dataset: { testid }, "aria-label": label, title: label, onclick }));
    this.#element = h(
      "section",
      { class: "call", "aria-label": "Call", hidden: true, dataset: { testid: "call" } },
      h("header", { class: "call-head" }, shrink, grow, h("div", { class: "call-names" }, this.#title, h("div", { class: "call-about" }, this.#secure, this.#status, this.#time, this.#recording)), settings),
      this.#notices,
      this.#tiles.element,
      h(
        "footer",
        { class: "call-controls", role: "toolbar", "aria-label": "Call controls" },
        control("microphone", "Mute", "call-mute", () => this.#toggle("microphone", (on) => this.#call.setMicrophone(on))),
        control("camera", "Camera", "call-camera", () => this.#toggle("camera", (on) => this.#call.setCamera(on))),
        control("screen", "Share the screen", "call-screen", () => this.#toggle("screen", (on) => this.#call.shareScreen(on))),
        h("button", { type: "button", class: "round danger", "aria-label": "Hang up", title: "Hang up", dataset: { testid: "call-hang-up" }, onclick: () => this.#hangUp() }, icon("hang-up")),
      ),
    );
    document.body.append(this.#element);
    this.#element.addEventListener("keydown", (event) => event.key === "Escape" && !this.isSmall && this.#minimise(true));
    this.#buttons.screen.hidden = !navigator.mediaDevices?.getDisplayMedia; // phones have none
  }

  get isSmall() {
    return this.#element.classList.contains("small");
  }

  /** Show a call, or none. */
  show(call) {
    for (const stop of this.#stop.splice(0)) stop();
    clearInterval(this.#timer);
    this.#call = call;
    this.#tiles.show(call);
    if (!call) {
      this.#ring(false);
      this.#minimise(true);
      this.#element.hidden = true;
      return;
    }
    this.#stop = [
      call.on("change", () => this.#render()),
      call.on("ended", ({ reason }) => this.#said(call, reason)),
      call.on("muted", ({ by }) => toast(by === null ? "You are muted in this call." : `${this.#name(by)} muted you.`)),
      call.on("left", (left) => this.#leftSaid(call, left)),
      call.on("error", (error) => toast(error.message, "error")),
    ];
    this.#timer = setInterval(() => this.#tick(), 1_000);
    this.#element.hidden = false;
    this.#minimise(false);
    this.#render();
  }

  setSpeaker(id) {
    this.#tiles.setSpeaker(id);
  }

  /** The whole screen again, e.g. from the chat's banner. */
  open() {
    this.#minimise(false);
  }

  #minimise(small) {
    const full = !small && Boolean(this.#call);
    this.#element.classList.toggle("small", small);
    for (const part of document.querySelectorAll(".sidebar, #chat")) part.inert = full;
    if (full) this.#title.focus({ preventScroll: true });
    this.#tiles.render();
  }

  #render() {
    const call = this.#call;
    if (!call) return;
    const { store } = this.#context;
    const room = store.rooms.get(call.roomId);
    const state = call.online ? call.state : call.state === "connected" ? "offline" : "reconnecting";
    this.#element.dataset.state = state;
    this.#element.dataset.via = call.via ?? "";
    this.#element.dataset.group = String(room?.room_type !== "direct");
    setText(this.#title, room?.name ?? store.nameOf(call.from, call.username));
    setText(this.#status, statusOf(call, state));
    this.#secure.hidden = !call.encrypted;
    const recorders = call.recorders.map((one) => this.#name(one.user_id));
    this.#recording.hidden = !recorders.length;
    setText(this.#recording, recorders.length ? `${recorders.join(", ")} ${recorders.length > 1 ? "record" : "records"} this call` : "");
    this.#ring(call.state === "calling");
    this.#button("microphone", call.microphone ? "mic" : "mic-off", call.microphone ? "Mute" : "Unmute", !call.microphone);
    this.#button("camera", call.camera ? "video" : "video-off", call.camera ? "Turn the camera off" : "Turn the camera on", !call.camera);
    this.#button("screen", "screen", call.screen ? "Stop sharing the screen" : "Share the screen", call.screen);
    this.#renderNotices();
    this.#tick();
    this.#tiles.render();
  }

  #button(name, iconName, label, pressed) {
    const button = this.#buttons[name];
    if (button.getAttribute("aria-label") === label && button.firstChild) return;
    button.replaceChildren(icon(iconName));
    button.setAttribute("aria-label", label);
    button.title = label;
    button.classList.toggle("on", name === "screen" && pressed);
    button.classList.toggle("off", name !== "screen" && pressed);
    button.dataset.on = String(name === "screen" ? pressed : !pressed);
  }

  /** What could not be opened, in plain words, with a way to try again. */
  #renderNotices() {
    const found = new Map(); // code -> sources: what hinders both is said once
    for (const [source, { code }] of this.#call.local.errors) if (SOURCES.includes(source)) found.set(code, [...(found.get(code) ?? []), source].sort().reverse());
    const key = [...found].join(";");
    if (this.#notices.dataset.key === key) return;
    this.#notices.dataset.key = key;
    this.#notices.replaceChildren(
      ...[...found].map(([code, sources]) =>
        h(
          "div",
          { class: "call-notice", dataset: { testid: "call-notice", source: sources.join(" "), code } },
          icon(sources[0] === "camera" ? "video-off" : "mic-off"),
          h("p", {}, h("strong", {}, noticeTitle(sources, code)), " ", noticeText(sources, code)),
          h("button", { type: "button", class: "button", dataset: { testid: "call-notice-retry" }, onclick: () => this.#retry(sources) }, "Try again"),
        ),
      ),
    );
  }

  async #retry(sources) {
    const call = this.#call;
    const open = (source) => (source === "camera" ? call.setCamera(true) : call.setMicrophone(true)).catch(() => {}); // the notice stays
    await Promise.all(sources.map(open));
    call.changed();
  }

  async #toggle(source, set) {
    const on = this.#buttons[source].dataset.on !== "true";
    try {
      await set(on);
    } catch (error) {
      // Who closes the browser's own dialog has not met an error.
      if (source !== "screen" || error.code !== "permission_denied") this.#call?.changed();
      if (source === "screen" && error.code !== "permission_denied") toast(error.message, "error");
    }
  }

  #pin(userId) {
    this.#call.pin(this.#call.pinned === userId ? null : userId);
  }

  #hangUp() {
    orToast(this.#call.hangUp().catch((error) => error.code === "offline" || Promise.reject(error)));
  }

  #ring(on) {
    if (on) this.#silence ??= ringing("ringback");
    else {
      this.#silence?.();
      this.#silence = null;
    }
  }

  #tick() {
    const { answeredAt, state } = this.#call;
    const running = answeredAt !== null && state !== "calling";
    setText(this.#time, running ? duration((Date.now() - answeredAt) / 1000) : "");
  }

  #name(userId) {
    return this.#context.store.nameOf(userId, this.#call?.members.get(userId)?.username);
  }

  #leftSaid(call, { user_id, username, reason }) {
    const room = this.#context.store.rooms.get(call.roomId);
    if (call.state === "ended" || room?.room_type === "direct") return;
    const name = this.#context.store.nameOf(user_id, username);
    const texts = { rejected: `${name} declined.`, busy: `${name} is in another call.`, missed: `${name} did not answer.`, removed: `${name} was removed from the call.` };
    toast(texts[reason] ?? `${name} left the call.`);
  }

  #said(call, reason) {
    this.#ring(false);
    ended();
    const room = this.#context.store.rooms.get(call.roomId);
    const name = room?.name ?? "";
    const answered = call.answeredAt !== null;
    const took = answered ? ` · ${duration((Date.now() - call.answeredAt) / 1000)}` : "";
    const texts = {
      rejected: `${name} declined the call.`,
      busy: `${name} is in another call.`,
      missed: "Nobody answered.",
      failed: "The call failed: no connection was found.",
      disconnected: "The call was lost.",
      removed: "You were removed from the call.",
      elsewhere: "The call goes on on another device or tab.",
    };
    if (reason !== "refused") toast(texts[reason] ?? (answered ? `Call ended${took}` : "Call cancelled."));
  }
}

function statusOf(call, state) {
  if (state === "offline") return "No connection to the server; the call goes on.";
  if (state === "connected" && !call.others.length) return "Nobody else is here.";
  if (state === "calling" && [...call.members.values()].some((one) => one.state === "ringing")) return "Ringing…";
  return STATES[state] ?? "";
}

function noticeTitle(sources, code) {
  const [what, are, were] = sources.length > 1 ? ["microphone and camera", "are", "were"] : [sources[0], "is", "was"];
  if (code === "permission_denied") return `Your ${what} ${are} blocked.`;
  if (code === "no_device") return `No ${what} ${were} found.`;
  if (code === "device_busy") return `Your ${what} ${are} in use elsewhere.`;
  return `Your ${what} can’t be used here.`;
}

function noticeText(sources, code) {
  const both = sources.length > 1;
  const effect = both ? "Others don’t hear or see you." : sources[0] === "camera" ? "Others don’t see you." : "Others don’t hear you.";
  if (code === "permission_denied") return `${effect} Allow ${both ? "both" : "it"} in the address bar of the browser, then try again.`;
  if (code === "no_device") return `${effect} Plug ${both ? "them" : "one"} in, then try again.`;
  if (code === "insecure") return `${effect} Open this page over HTTPS.`;
  return `${effect} Close the other program, then try again.`;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
