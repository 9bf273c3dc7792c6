// What a bubble holds: the message it answers, its text, its files, its reactions.

import { h, icon } from "./dom.js";
import { UNREADABLE, lockedFile, unreadable } from "./encryptionparts.js";
import { payloadText, timeOf } from "./format.js";

/** What the bubble depends on: it is made again only when this changes. */
export function lookOf(event, quoted) {
  const { payload, deleted, edited_at, attachments, reactions, mentions, unreadable: why } = event;
  const quote = quoted && [quoted.payload, quoted.deleted];
  return JSON.stringify([payload, deleted, edited_at, attachments, reactions, mentions, quote, why]);
}

/** @returns {Node[]} everything above the time */
export function contentOf(event, { store, quoted, onQuote }) {
  if (event.deleted) return [h("div", { class: "text gone", dataset: textData(event) }, "This message was deleted")];
  if (event.unreadable) return [unreadable(event)];
  const nodes = [];
  if (event.reply_to) nodes.push(quoteOf(event, quoted, store, onQuote));
  for (const file of event.attachments ?? []) nodes.push(attachment(file));
  const { text, isData } = payloadText(event.payload);
  if (isData) nodes.push(h("pre", { class: "data", dataset: { testid: "message-text" } }, text));
  else if (text || !event.attachments?.length)
    nodes.push(
      h(
        "div",
        { class: `text${onlyEmoji(text) ? " big" : ""}`, dir: "auto", dataset: textData(event) },
        ...linked(text, names(event, store)),
      ),
    );
  return nodes;
}

/** The bar of emoji below a bubble. @param {(emoji: string, remove: boolean) => void} onReact */
export function reactionsOf(event, store, onReact) {
  if (!event.reactions?.length) return null;
  const chips = event.reactions.map(({ emoji, count, user_ids, me }) => {
    const who = user_ids.map((id) => (String(id) === store.me.id ? "You" : store.nameOf(id)));
    if (count > who.length) who.push(`${count - who.length} more`);
    const title = who.join(", ");
    return h(
      "button",
      {
        type: "button",
        class: `reaction${me ? " mine" : ""}`,
        title,
        "aria-pressed": String(Boolean(me)),
        "aria-label": `${emoji} ${count}: ${title}`,
        dataset: { testid: "reaction", emoji },
        onclick: () => onReact(emoji, Boolean(me)),
      },
      h("span", { "aria-hidden": "true" }, emoji),
      h("span", { "aria-hidden": "true" }, count),
    );
  });
  return h("div", { class: "reactions", role: "group", "aria-label": "Reactions" }, ...chips);
}

function textData(event) {
  return { testid: "message-text", time: `${event.edited_at ? "edited " : ""}${timeOf(event.timestamp)}` };
}

function quoteOf(event, quoted, store, onQuote) {
  const name = quoted ? (String(quoted.from) === store.me.id ? "You" : store.nameOf(quoted.from, quoted.username)) : "";
  return h(
    "button",
    { type: "button", class: "quote", dataset: { testid: "message-quote" }, onclick: () => onQuote(event.reply_to) },
    name ? h("strong", { dir: "auto" }, name) : null,
    h("span", { dir: "auto" }, summary(quoted)),
  );
}

/** A message in one line. */
export function summary(message) {
  if (!message) return "An earlier message";
  if (message.deleted) return "This message was deleted";
  if (message.unreadable) return UNREADABLE[message.unreadable];
  const text = payloadText(message.payload).text.replace(/\s+/g, " ").trim();
  return text || fileNames(message) || "A message";
}

function fileNames(message) {
  return (message.attachments ?? []).map(({ content_type, name }) => (isImage(content_type) ? "Photo" : name)).join(", ");
}

function isImage(contentType) {
  return contentType.startsWith("image/");
}

/** A file as it lies in a message, or in the composer. */
export function attachment(file) {
  if (file.encrypted) return lockedFile(file, sizeOf);
  const address = `/api/attachments/${file.id}/file`;
  if (isImage(file.content_type) && file.thumbnail) {
    const { width = 1, height = 1 } = file;
    const image = h("img", {
      src: `/api/attachments/${file.id}/thumbnail`,
      alt: file.name,
      loading: "lazy",
      width: Math.min(width, 360),
      height: Math.round((Math.min(width, 360) * height) / width),
    });
    return h(
      "a",
      { class: "picture", href: address, target: "_blank", rel: "noopener", dataset: { testid: "attachment" } },
      image,
    );
  }
  return h(
    "a",
    { class: "file", href: address, download: file.name, dataset: { testid: "attachment" } },
    h("span", { class: "file-icon" }, icon("file")),
    h("span", { class: "file-text" }, h("strong", { dir: "auto" }, file.name), h("small", {}, sizeOf(file.size))),
  );
}

export function sizeOf(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit ? size.toFixed(1) : size} ${units[unit]}`;
}

function names(event, store) {
  const found = (event.mentions ?? []).map((id) => (id === "@all" ? "all" : store.people.get(String(id))?.username));
  return found.filter(Boolean).map((name) => `@${name}`);
}

const ADDRESS = /https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}']/g;

/** The text as nodes: addresses as links, and whom it mentions in their colour. */
function linked(text, mentioned) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(ADDRESS)) {
    nodes.push(
      ...marked(text.slice(at, match.index), mentioned),
      h("a", { href: match[0], target: "_blank", rel: "noopener noreferrer" }, match[0]),
    );
    at = match.index + match[0].length;
  }
  nodes.push(...marked(text.slice(at), mentioned));
  return nodes;
}

function marked(text, mentioned) {
  const name = mentioned.find((one) => text.includes(one));
  if (!name) return [text];
  const [before, ...rest] = text.split(name);
  return [before, h("mark", { class: "mention" }, name), ...marked(rest.join(name), mentioned)];
}

function onlyEmoji(text) {
  const trimmed = text.trim();
  return trimmed.length <= 40 && /^(?:\p{RGI_Emoji}\s*){1,3}$/v.test(trimmed);
}
