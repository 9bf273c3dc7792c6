// What plaintexts say: contents of messages, control messages, sealed things. docs/e2ee-clients.md has every field.

import { sources } from "../primitives.js";
import { hex } from "../encoding.js";
import { ClientError } from "./errors.js";

export const VERSION = 1;
export const MAX_PLAINTEXT = 32_768; // bytes
const MAX_DEPTH = 64; // of lists and objects in each other
const MAX_FILES = 32;
const POINTER_SIZE = 73;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function b64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  return btoa(text);
}

/** Throws ClientError `invalid_content`. */
export function unb64(text) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    throw invalid("not base64");
  }
  if (typeof text !== "string" || b64(bytes) !== text) throw invalid("not base64 with padding");
  return bytes;
}

/** A new content's id: 32 hex digits. */
export const contentId = () => hex(sources.randomBytes(16));

/** A plaintext as bytes. Throws ClientError `too_large`. */
export function encode(plaintext) {
  // Half of an emoji, as a cut through a text leaves it, is no text for other languages.
  const bytes = encoder.encode(JSON.stringify(plaintext, (_, value) => (typeof value === "string" ? value.toWellFormed() : value)));
  if (bytes.length > MAX_PLAINTEXT)
    throw new ClientError("too_large", `The message has ${bytes.length} bytes, ${MAX_PLAINTEXT} are allowed.`);
  return bytes;
}

/** Bytes as a plaintext. Throws ClientError `invalid_content`. */
export function decode(bytes) {
  let plaintext;
  try {
    plaintext = JSON.parse(decoder.decode(bytes));
  } catch {
    throw invalid("not JSON");
  }
  if (!plaintext || typeof plaintext !== "object" || Array.isArray(plaintext)) throw invalid("not an object");
  if (plaintext.v !== VERSION) throw invalid("written by a newer version");
  checkPlain(plaintext);
  return plaintext;
}

/** Refuses what another client could not write down: too deep, an infinite number, half a surrogate pair. */
function checkPlain(plaintext) {
  let level = [plaintext];
  for (let depth = 0; level.length; depth += 1) {
    if (depth > MAX_DEPTH) throw invalid("too many things in each other");
    for (const value of level) {
      const isText = typeof value === "string" && value.isWellFormed();
      if (!isText && (typeof value === "string" || (typeof value === "number" && !Number.isFinite(value)))) throw invalid("not JSON");
    }
    level = level.filter((value) => value && typeof value === "object").flatMap((value) => (Array.isArray(value) ? value : [...Object.keys(value), ...Object.values(value)]));
  }
}

/** The content, if it is one of this room and sender. @param {{user: string, device: string}} sender */
export function checkedContent(content, room, sender) {
  if (content.room !== room) throw invalid("it belongs to another room");
  if (content.from !== sender.user || content.device !== sender.device) throw invalid("it is of another sender");
  if (typeof content.id !== "string" || !/^[0-9a-f]{32}$/.test(content.id)) throw invalid("its id is not 32 hex digits");
  if (!Number.isSafeInteger(content.at)) throw invalid("`at` is no time");
  const check = Object.hasOwn(KINDS, content.kind) ? KINDS[content.kind] : undefined;
  if (!check) throw invalid("written by a newer version");
  check(content);
  if (content.log !== undefined) {
    if (!Number.isSafeInteger(content.log?.sequence)) throw invalid("`log` is wrong");
    unb64(content.log.hash);
  }
  return content;
}

export function checkedRef(ref) {
  if (typeof ref?.from !== "string" || typeof ref.id !== "string") throw invalid("not a reference to a content");
  return ref;
}

/** The description of an encrypted file. */
export function checkedFile(file) {
  const texts = [file?.id, file?.name, file?.type];
  if (texts.some((one) => typeof one !== "string") || !Number.isSafeInteger(file.size)) throw invalid("not a file");
  if (unb64(file.pointer).length !== POINTER_SIZE) throw invalid("not a pointer to a file");
  return file;
}

export const control = (name, fields) => ({ v: VERSION, control: name, ...fields });

export function sealedPlaintext(purpose, context, data) {
  const value = data instanceof Uint8Array ? { base64: b64(data) } : data;
  return encode({ v: VERSION, sealed: purpose, context, data: value });
}

/** What was sealed for just this purpose and context. */
export function unsealedPlaintext(bytes, purpose, context) {
  const { sealed, context: given, data } = decode(bytes);
  if (sealed !== purpose || given !== context) throw invalid("it was sealed for something else");
  const isBytes = data && typeof data === "object" && Object.keys(data).join() === "base64";
  return isBytes ? unb64(data.base64) : data;
}

export const invalid = (why) => new ClientError("invalid_content", `The message can't be used: ${why}.`);

function text(content) {
  if (typeof content.text !== "string") throw invalid("`text` is missing");
  if (content.reply_to !== undefined) checkedRef(content.reply_to);
  const { reply_plain: plain = "" } = content;
  if (typeof plain !== "string" || plain.length > 64) throw invalid("`reply_plain` is wrong");
  mentions(content);
  const files = content.attachments ?? [];
  if (!Array.isArray(files) || files.length > MAX_FILES) throw invalid("`attachments` is wrong");
  files.forEach(checkedFile);
  if (!content.text && !files.length) throw invalid("it says nothing");
}

function mentions({ mentions: list = [] }) {
  if (!Array.isArray(list) || list.some((one) => typeof one !== "string")) throw invalid("`mentions` is wrong");
}

const KINDS = {
  text,
  edit(content) {
    checkedRef(content.target);
    if (typeof content.text !== "string") throw invalid("`text` is missing");
    mentions(content);
  },
  delete: (content) => void checkedRef(content.target),
  reaction(content) {
    checkedRef(content.target);
    const { emoji } = content;
    if (typeof emoji !== "string" || emoji.length < 1 || [...emoji].length > 64) throw invalid("`emoji` is wrong");
  },
  custom(content) {
    if (content.data === undefined) throw invalid("`data` is missing");
  },
};
