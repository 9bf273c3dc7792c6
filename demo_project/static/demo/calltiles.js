// The pictures of a call: one tile for each person, one for each shared screen, and the sound of everybody.

import { avatar, h, icon, iconButton, reconcile } from "./dom.js";

const QUALITY = { good: "Good connection", fair: "Fair connection", poor: "Poor connection", lost: "Nothing comes through" };

export class Tiles {
  element = h("div", { class: "tiles", role: "list", "aria-label": "People in the call", dataset: { testid: "call-tiles" } });
  #sounds = h("div", { hidden: true });
  #context;
  #call = null;
  #hooks;
  #speaker = null; // id of the output device
  #sizes = new ResizeObserver(() => this.#tellVisible());

  /** @param {{onPin: (userId: string) => void, onMore: (userId: string) => void}} hooks */
  constructor(context, hooks) {
    this.#context = context;
    this.#hooks = hooks;
    this.element.after(this.#sounds);
    document.body.append(this.#sounds);
    this.#sizes.observe(this.element);
    document.addEventListener("visibilitychange", () => this.#tellVisible());
  }

  show(call) {
    this.#call = call;
    this.render();
  }

  setSpeaker(id) {
    this.#speaker = id;
    for (const sound of this.#sounds.children) sound.setSinkId?.(id ?? "").catch(() => {});
  }

  render() {
    const call = this.#call;
    reconcile(this.#sounds, call ? soundsOf(call).map((one) => this.#sound(one)) : []);
    const tiles = call ? tilesOf(call) : [];
    const large = largeOf(call, tiles);
    const strip = Boolean(large) && tiles.length > 1;
    const pair = tiles.length === 2 && !large;
    this.element.dataset.layout = strip ? "spotlight" : pair ? "pair" : "grid";
    this.element.dataset.count = tiles.length;
    this.element.style.setProperty("--rows", Math.max(1, tiles.length - 1));
    // The large one first, so that it is also first for a screen reader and the keyboard.
    const sorted = large ? [large, ...tiles.filter((one) => one !== large)] : tiles;
    reconcile(this.element, sorted.map((one) => this.#tile(one, one === large)));
    this.#tellVisible();
  }

  #sound({ key, track }) {
    return {
      key,
      create: () => {
        const element = h("audio", { autoplay: true });
        element.srcObject = new MediaStream([track]);
        if (this.#speaker) element.setSinkId?.(this.#speaker).catch(() => {});
        element.play().catch(() => {}); // the page was not touched yet: the next click starts it
        return element;
      },
    };
  }

  #tile(tile, large) {
    return {
      key: tile.key,
      create: () => this.#make(tile),
      update: (element) => this.#update(element, tile, large),
    };
  }

  #make({ userId, source, own }) {
    const { store } = this.#context;
    const name = own ? "You" : store.nameOf(userId);
    const pin = iconButton("pin", "Show large", "tile-pin", () => this.#hooks.onPin(userId));
    const more = own ? null : iconButton("more", `More about ${name}`, "tile-more", () => this.#hooks.onMore(userId));
    const tile = h(
      "figure",
      { class: "tile", role: "listitem", dataset: { testid: "tile", userId, source, own: String(own) } },
      h("video", { autoplay: true, playsinline: true, muted: true, hidden: true }),
      h("div", { class: "tile-face" }, avatar(userId, store.nameOf(userId, store.me.username), { className: "large" })),
      h(
        "figcaption",
        {},
        h("span", { class: "tile-muted", dataset: { testid: "tile-muted" }, title: "Muted" }, icon("mic-off"), h("span", { class: "visually-hidden" }, "muted")),
        h("span", { class: "tile-name", dir: "auto", dataset: { testid: "tile-name" } }),
        h("span", { class: "tile-quality", role: "img", dataset: { testid: "tile-quality" } }, icon("signal")),
      ),
      h("div", { class: "tile-tools" }, pin, more),
    );
    tile.querySelector("video").muted = true; // the sound has elements of its own
    return tile;
  }

  #update(tile, { userId, source, own, track, member, ringing }, large) {
    const { store } = this.#context;
    const video = tile.querySelector("video");
    const shown = Boolean(track);
    if (shown && video.srcObject?.getVideoTracks()[0] !== track) {
      video.srcObject = new MediaStream([track]);
      video.play().catch(() => {});
    }
    if (!shown && video.srcObject) video.srcObject = null;
    video.hidden = !shown;
    tile.querySelector(".tile-face").hidden = shown;
    tile.classList.toggle("speaking", Boolean(member.speaking) && source === "camera" && !member.muted);
    tile.classList.toggle("large", large);
    tile.classList.toggle("ringing", ringing);
    const name = own ? "You" : store.nameOf(userId, member.username);
    const label = source === "screen" ? (own ? "Your screen" : `${name}’s screen`) : ringing ? `${name} · ringing` : name;
    const text = tile.querySelector(".tile-name");
    if (text.textContent !== label) text.textContent = label;
    tile.querySelector(".tile-muted").hidden = source === "screen" || ringing || !member.muted;
    const quality = tile.querySelector(".tile-quality");
    quality.hidden = !member.quality || source === "screen";
    quality.dataset.level = member.quality ?? "";
    if (member.quality) quality.setAttribute("aria-label", QUALITY[member.quality]);
    quality.title = QUALITY[member.quality] ?? "";
    const pinned = large && this.#call.pinned === userId;
    const pin = tile.querySelector("[data-testid=tile-pin]");
    pin.setAttribute("aria-pressed", String(pinned));
    pin.setAttribute("aria-label", pinned ? "No longer large" : `Show ${label} large`);
    pin.title = pinned ? "No longer large" : "Show large";
  }

  /** Only what is seen is asked for, and only as large as it is. */
  #tellVisible() {
    if (!this.#call) return;
    const visible = new Map();
    for (const tile of this.element.querySelectorAll("[data-own=false]")) {
      const { userId, source } = tile.dataset;
      const { width, height } = document.hidden ? { width: 0, height: 0 } : tile.getBoundingClientRect();
      const sizes = visible.get(userId) ?? {};
      sizes[source] = Math.round(Math.max(height, width * 0.5625) * devicePixelRatio);
      visible.set(userId, sizes);
    }
    this.#call.setVisible(visible);
  }
}

/** Screens first, then the others, then ourselves. */
function tilesOf(call) {
  const tiles = [];
  const others = [...call.members.values()].filter((one) => one.user_id !== call.me);
  const mine = call.members.get(call.me) ?? { user_id: call.me, speaking: false, quality: null };
  for (const member of others) {
    const { user_id: userId, media } = member;
    if (member.screen && media.screen) tiles.push({ key: `${userId} screen`, userId, source: "screen", own: false, track: media.screen, member });
  }
  const screen = call.local.tracks.get("screen");
  if (screen) tiles.push({ key: "own screen", userId: call.me, source: "screen", own: true, track: screen, member: mine });
  for (const member of others) {
    const { user_id: userId, media, state } = member;
    const track = member.camera ? (media.camera ?? null) : null;
    tiles.push({ key: `${userId} camera`, userId, source: "camera", own: false, track, member, ringing: state === "ringing" });
  }
  const own = { ...mine, muted: !call.microphone };
  tiles.push({ key: "own camera", userId: call.me, source: "camera", own: true, track: call.local.tracks.get("camera") ?? null, member: own });
  return tiles;
}

/** What is shown large: whom the person has pinned, else a screen that another one shares. */
function largeOf(call, tiles) {
  if (!call) return null;
  const pinned = tiles.filter((one) => one.userId === call.pinned);
  return pinned[0] ?? tiles.find((one) => one.source === "screen" && !one.own) ?? null;
}

function soundsOf(call) {
  const found = [];
  for (const { user_id, media } of call.members.values())
    for (const source of ["microphone", "screen_audio"])
      if (media[source] && user_id !== call.me) found.push({ key: `${user_id} ${source} ${media[source].id}`, track: media[source] });
  return found;
}
