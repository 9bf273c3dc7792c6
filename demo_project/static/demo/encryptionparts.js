// Small parts of encrypted messages: what can't be read, what was not encrypted, files, QR codes.

import { h, icon, toast } from "./dom.js";
import { timeOf } from "./format.js";
import qrcode from "./vendor/qrcode.js";

export const UNREADABLE = {
  waiting: "Waiting for this message…",
  lost: "This message was lost",
  missing: "Sent before this device was linked",
  invalid: "This message can't be read",
};
const WHY = {
  waiting: "It could not be decrypted yet, and was asked for again.",
  lost: "It could not be decrypted, and nobody has sent it again.",
  missing: "Only the devices of that time can read it. Or it waited for too long at the server.",
  invalid: "It is not what its sender may say, or was written by a newer version.",
};
const SHOWN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);
const LARGEST_SHOWN = 8_000_000; // bytes of a picture that is fetched without being asked

/** In place of a text that this device does not have. */
export function unreadable({ unreadable: why, timestamp }) {
  return h(
    "div",
    { class: "text unreadable", title: WHY[why], dataset: { testid: "message-text", time: timeOf(timestamp) } },
    icon(why === "waiting" ? "clock" : "lock"),
    h("span", { dataset: { testid: "message-unreadable", why } }, UNREADABLE[why]),
  );
}

/** Beside the time of a message that came in the clear, in a chat that is encrypted. */
export function plainMark() {
  const label = "Not encrypted";
  return h("span", { class: "message-plain", title: label, dataset: { testid: "message-plain" } }, icon("lock-open"), h("span", { class: "visually-hidden" }, label));
}

let download = async () => {
  throw new Error("Encrypted files can't be opened here.");
};
/** @param {(file: object) => Promise<Blob>} how */
export function useDownload(how) {
  download = how;
}

const opened = new Map(); // attachment id -> promise of its address
function addressOf(file) {
  if (!opened.has(file.id)) {
    const made = download(file).then((blob) => URL.createObjectURL(blob));
    made.catch(() => opened.delete(file.id));
    opened.set(file.id, made);
  }
  return opened.get(file.id);
}

/** An encrypted file in a message: decrypted here, pictures at once. @param {(bytes: number) => string} sizeOf */
export function lockedFile(file, sizeOf) {
  if (SHOWN.has(file.content_type) && file.size <= LARGEST_SHOWN) return picture(file);
  const note = h("small", {}, sizeOf(file.size));
  const save = async () => {
    try {
      h("a", { href: await addressOf(file), download: file.name }).click();
    } catch (error) {
      note.textContent = error.message;
    }
  };
  return h(
    "button",
    { type: "button", class: "file file-locked", onclick: save, dataset: { testid: "attachment" } },
    h("span", { class: "file-icon" }, icon("file")),
    h("span", { class: "file-text" }, h("strong", { dir: "auto" }, file.name), note),
  );
}

function picture(file) {
  const { width = 320, height = 240 } = file;
  const shown = Math.min(width, 360);
  const image = h("img", { alt: file.name, width: shown, height: Math.round((shown * height) / width) });
  const link = h("a", { class: "picture", target: "_blank", rel: "noopener", dataset: { testid: "attachment" } }, image);
  addressOf(file).then(
    (address) => {
      image.src = address;
      link.href = address;
      link.dataset.opened = "true";
    },
    (error) => link.replaceChildren(h("span", { class: "file" }, icon("alert"), `${file.name}: ${error.message}`)),
  );
  return link;
}

/** @param {string | Uint8Array} data @param {string} label for those who can't see it */
export function qrImage(data, label, testid) {
  const code = qrcode(0, "M");
  code.addData(typeof data === "string" ? data : String.fromCharCode(...data), "Byte");
  code.make();
  const count = code.getModuleCount();
  let path = "";
  for (let row = 0; row < count; row += 1)
    for (let column = 0; column < count; column += 1) if (code.isDark(row, column)) path += `M${column + 4} ${row + 4}h1v1h-1z`;
  const SVG = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(SVG, "svg");
  const dark = document.createElementNS(SVG, "path");
  dark.setAttribute("d", path);
  svg.append(dark);
  const size = count + 8; // with the quiet zone of four modules
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, class: "qr" })) svg.setAttribute(name, value);
  svg.dataset.testid = testid;
  return svg;
}

/** A text to copy, in a field of its own. */
export function copyable(text, testid) {
  const copy = async () => {
    await navigator.clipboard?.writeText(text).then(
      () => toast("Copied."),
      () => toast("Press Ctrl+C to copy."),
    );
  };
  return h(
    "div",
    { class: "copyable" },
    h("code", { dataset: { testid } }, text),
    h("button", { type: "button", class: "icon-button", "aria-label": "Copy", title: "Copy", onclick: copy }, icon("copy")),
  );
}
