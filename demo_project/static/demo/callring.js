// A call that rings here: who it is, and what to do about it.

import { ringing } from "./callsounds.js";
import { avatar, h, icon, toast } from "./dom.js";

/** Shows and ends the cards of calls that ring. */
export class Rings {
  #context;
  #box = h("div", { class: "rings", "aria-live": "assertive" });
  #cards = new Map(); // call -> element
  #silence = null;

  constructor(context, calls, { onAnswer }) {
    this.#context = context;
    document.body.append(this.#box);
    calls.on("ring", (call) => this.#show(call, onAnswer));
    calls.on("ring_end", ({ call }) => this.#hide(call));
  }

  #show(call, onAnswer) {
    const { store } = this.#context;
    const room = store.rooms.get(call.roomId);
    const name = store.nameOf(call.from, call.username);
    const group = room && room.room_type !== "direct";
    const kind = call.video ? "Video call" : "Voice call";
    const titleId = `ring-${call.id}`;
    const answer = (video) => onAnswer(call, { video });
    const card = h(
      "section",
      {
        class: "ring",
        role: "alertdialog",
        "aria-labelledby": titleId,
        "aria-describedby": `${titleId}-about`,
        dataset: { testid: "ring", callId: call.id },
      },
      h("div", { class: "ring-picture" }, avatar(call.from, name, { className: "large" })),
      h("h2", { id: titleId, dir: "auto", dataset: { testid: "ring-name" } }, name),
      h("p", { id: `${titleId}-about`, dir: "auto" }, group ? `${kind} in “${room.name}”` : `${kind}…`),
      h(
        "div",
        { class: "ring-actions" },
        round("hang-up", "Decline", "ring-decline", "danger", () => call.reject().catch((error) => toast(error.message, "error"))),
        round("phone", call.video ? "Answer without video" : "Answer", "ring-answer", "good", () => answer(false), call.video ? { text: "Without video" } : {}),
        call.video ? round("video", "Answer with video", "ring-answer-video", "good", () => answer(true), { text: "With video" }) : null,
      ),
    );
    card.addEventListener("keydown", (event) => event.key === "Escape" && card.querySelector("button").click());
    this.#cards.set(call, card);
    this.#box.append(card);
    // Who is writing does not answer by their next space.
    if (!document.activeElement?.matches("input, textarea, select, [contenteditable]"))
      card.querySelector("[data-testid^=ring-answer]").focus({ preventScroll: true });
    this.#silence ??= ringing("ring");
    // With the page in the background a notification says it; the server's Web Push does without a page.
    if (document.hidden) document.title = `${name} is calling`;
  }

  /** That it was missed is said by the notification, which comes to those who were not rung as well. */
  #hide(call) {
    this.#cards.get(call)?.remove();
    this.#cards.delete(call);
    if (!this.#cards.size) {
      this.#silence?.();
      this.#silence = null;
      this.#context.showTitle();
    }
  }
}

export function round(name, label, testid, kind, onclick, { text = label } = {}) {
  return h(
    "div",
    { class: "round-field" },
    h("button", { type: "button", class: `round ${kind}`, "aria-label": label, title: label, dataset: { testid }, onclick }, icon(name)),
    text ? h("span", { "aria-hidden": "true" }, text) : null,
  );
}
