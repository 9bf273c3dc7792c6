// Dialogs: the browser's own, which close with Escape and keep the focus inside.

import { h, iconButton } from "./dom.js";

/**
 * @param {{title: string, testid: string, className?: string}} options
 * @param {...Node} content
 * @returns {{element: HTMLDialogElement, body: HTMLElement, close: () => void}} open already; removed when closed
 */
export function openDialog({ title, testid, className = "" }, ...content) {
  const id = `dialog-${Math.random().toString(36).slice(2)}`;
  const body = h("div", { class: "dialog-body" }, ...content);
  const close = () => element.close();
  const head = h(
    "header",
    { class: "dialog-head" },
    h("h2", { id, dir: "auto" }, title),
    iconButton("close", "Close", "dialog-close", close),
  );
  const element = h("dialog", { class: `dialog ${className}`, "aria-labelledby": id, dataset: { testid } }, head, body);
  element.addEventListener("close", () => element.remove());
  element.addEventListener("click", (event) => event.target === element && close()); // outside of it
  document.body.append(element);
  element.showModal();
  return { element, body, close };
}

/** @returns {Promise<boolean>} whether the user said yes */
export function confirmed(title, text, yes) {
  return new Promise((resolve) => {
    const answer = h("button", { type: "button", class: "button danger", dataset: { testid: "confirm-yes" } }, yes);
    const cancel = h("button", { type: "button", class: "button", autofocus: true }, "Cancel");
    const { element, close } = openDialog(
      { title, testid: "dialog-confirm", className: "narrow" },
      h("p", { dir: "auto" }, text),
      h("div", { class: "dialog-actions" }, cancel, answer),
    );
    let said = false;
    answer.addEventListener("click", () => {
      said = true;
      close();
    });
    cancel.addEventListener("click", close);
    element.addEventListener("close", () => resolve(said));
  });
}

/** Run `work` while the button cannot be pressed again. */
export async function busy(button, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}
