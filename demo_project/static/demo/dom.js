// Building elements. Data only ever becomes text or an attribute, never markup.

const ICONS = document.body.dataset.iconsUrl;
const SVG = "http://www.w3.org/2000/svg";

/**
 * h("button", {class: "x", onclick: f, "aria-label": "Close", dataset: {testid: "y"}}, "text", element, null)
 * Properties that are undefined, null or false are left out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name, className = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

export function iconButton(name, label, testid, onclick) {
  return h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, dataset: { testid }, onclick },
    icon(name),
  );
}

const pictures = new Map(); // person id -> address of their avatar

/** A circle with the person's picture, or initials in a colour that belongs to the id. */
export function avatar(id, name, { online, room = false, className = "" } = {}) {
  const circle = h(
    "span",
    { class: `avatar ${className}`, "aria-hidden": "true", dataset: room ? {} : { person: id } },
    room ? icon("users") : initials(name),
  );
  circle.style.setProperty("--hue", hue(id));
  if (!room) showPicture(circle, pictures.get(String(id)));
  if (online) circle.append(h("span", { class: "presence-dot" }));
  return circle;
}

/** Remember somebody's picture, and show it wherever they are on the page. @param {string | null} url */
export function setPicture(id, url) {
  if ((pictures.get(String(id)) ?? null) === (url ?? null)) return;
  pictures.set(String(id), url ?? null);
  for (const circle of document.querySelectorAll(`.avatar[data-person="${CSS.escape(id)}"]`)) showPicture(circle, url);
}

function showPicture(circle, url) {
  circle.querySelector("img")?.remove();
  if (url) circle.append(h("img", { src: url, alt: "", loading: "lazy", onerror: (event) => event.target.remove() }));
}

/** A colour angle that is always the same for the same id. */
export function hue(id) {
  let hash = 7;
  for (const character of String(id)) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return (((hash * 2654435761) >>> 8) % 24) * 15;
}

function initials(name) {
  const words = String(name || "?")
    .trim()
    .split(/[\s._-]+/)
    .filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map(first) : [first(words[0] ?? "?")];
  return letters.join("").toUpperCase();
}

const segmenter = new Intl.Segmenter();

function first(word) {
  return segmenter.segment(word)[Symbol.iterator]().next().value?.segment ?? "";
}

/**
 * Make the children of `parent` those of `items`, touching only what changed, so that focus, selection and what a
 * screen reader has said stay. An item is {key, create(), update?(element)}.
 */
export function reconcile(parent, items) {
  const existing = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const { key, create, update } of items) {
    let element = existing.get(key);
    if (element) existing.delete(key);
    else {
      element = create();
      element.dataset.key = key;
    }
    update?.(element);
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  for (const element of existing.values()) element.remove();
}

/** Run `work` once after the current turn, however often it is asked for. */
export function soon(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    queueMicrotask(() => {
      asked = false;
      work();
    });
  };
}

/** A short message that goes away by itself. */
export function toast(text, kind = "info") {
  const box = h(
    "div",
    { class: `toast ${kind}`, dataset: { testid: "toast" } },
    kind === "error" ? icon("alert") : null,
    h("span", { dir: "auto" }, text),
  );
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), 5000);
}

/** Await `work`; when it fails, say so. @returns its value, or undefined */
export async function orToast(work) {
  try {
    return await work;
  } catch (error) {
    toast(error.message, "error");
    return undefined;
  }
}
