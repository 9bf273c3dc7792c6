// Contents as the page sees them: messages with their edits, deletions and reactions applied.

import { refKey } from "./vault.js";

const CHANGES = new Set(["edit", "delete", "reaction"]);

/**
 * Write a content down, in a transaction of the vault. @returns {Promise<object | null>} its row; null for a repetition
 * @param {{message_id: string, sequence: number, index?: number, timestamp: string, username?: string}} place
 */
export async function apply(rows, content, place) {
  const { room, from, device, id, at, kind } = content;
  const earlier = await rows.get("content", refKey(room, content));
  if (earlier !== undefined) {
    if ((await rows.get("event", place.message_id)) === undefined) rows.put("event", place.message_id, "");
    return null;
  }
  const { message_id, sequence, index, timestamp, username } = place;
  const row = { room, from, device, id, at, kind, message_id, sequence, index, timestamp, username };
  if (CHANGES.has(kind)) {
    const { target, text, emoji, remove, mentions } = content;
    Object.assign(row, { target, text, emoji, remove, mentions });
    rows.keep(row);
    const key = refKey(room, target);
    const changed = await rows.byEvent((await rows.get("content", key)) ?? "");
    if (changed) rows.put("history", rows.historyKey(changed), change(changed, row));
    else rows.put("change", `${key}/${id}`, row);
    return row;
  }
  const { text, data, reply_to, reply_plain, mentions, attachments } = content;
  Object.assign(row, { text, data, reply_to, reply_plain, mentions, attachments, reactions: {} });
  let now = row;
  for (const [key, waiting] of await rows.scan("change", refKey(room, row))) {
    now = change(now, waiting);
    rows.delete("change", key);
  }
  if ((await rows.byEvent(message_id))?.deleted) now = gone(now); // by the server, while it could not be opened
  rows.keep(now);
  return now;
}

/** The message after a change. Only its author edits and deletes it. */
function change(message, { kind, from, at, sequence, text, mentions, emoji, remove }) {
  if (kind === "reaction") {
    const who = (message.reactions?.[emoji] ?? []).filter((user) => user !== from);
    return { ...message, reactions: { ...message.reactions, [emoji]: remove ? who : [...who, from] } };
  }
  if (from !== message.from || message.deleted) return message;
  if (kind === "delete") return gone(message);
  const { edited } = message;
  if (edited && (edited.at > at || (edited.at === at && edited.sequence > sequence))) return message;
  return { ...message, text, mentions, edited: { at, sequence } };
}

/** A message without what it said. */
export function gone({ text, data, attachments, mentions, ...message }) {
  return { ...message, deleted: true, reactions: {} };
}

/** What the page is told of a row: a `message`, `message_edit`, `message_delete` or `reaction`, as without encryption. */
export async function eventOf(rows, row, me) {
  const { room, from, message_id: id, sequence, index, timestamp, username, kind, device } = row;
  const event = { id, sequence, index, room_id: room, from, username, timestamp, encrypted: true, device_id: device };
  if (CHANGES.has(kind)) {
    const target = (await rows.get("content", refKey(room, row.target))) ?? null;
    event.message_id = target;
    const seconds = (at) => new Date(at * 1000).toISOString();
    if (kind === "edit") {
      const message = target ? await rows.byEvent(target) : undefined;
      const { text, mentions } = message ?? row; // not that of an older edit, or of somebody else
      const payload = message?.deleted ? undefined : { text };
      return { ...event, type: "message_edit", payload, mentions, edited_at: seconds(row.at) };
    }
    const message = target ? await rows.byEvent(target) : undefined;
    if (kind === "reaction") {
      const { emoji, remove } = row;
      return { ...event, type: "reaction", emoji, remove: Boolean(remove), count: message?.reactions?.[emoji]?.length ?? 0 };
    }
    return { ...event, type: "message_delete", scope: "everyone", message_id: message?.deleted ? target : null };
  }
  event.type = "message";
  if (row.unreadable) return { ...event, payload: null, unreadable: row.unreadable };
  event.ref = { from, id: row.id };
  // Whatever the server says of an encrypted message, it says nothing here.
  event.edited_at = row.edited ? new Date(row.edited.at * 1000).toISOString() : undefined;
  event.reply_to = row.reply_plain;
  if (row.reply_to) event.reply_to = (await rows.get("content", refKey(room, row.reply_to))) ?? "unknown";
  event.reactions = Object.entries(row.reactions ?? {})
    .filter(([, who]) => who.length)
    .map(([emoji, who]) => ({ emoji, count: who.length, user_ids: who, me: who.includes(me) }));
  if (row.deleted) return { ...event, payload: null, deleted: true, attachments: [] };
  event.payload = row.kind === "custom" ? row.data : { text: row.text };
  event.mentions = row.mentions;
  event.attachments = (row.attachments ?? []).map((file) => ({ ...file, content_type: file.type, encrypted: true }));
  return event;
}

/** What an outgoing message of mana.js is for the page, once the server has acked it. */
export function eventOfSent({ ack_id, ack, payload, room_id }, me) {
  const { message_id: id, sequence, index, timestamp } = ack;
  const { kind, text, data, target_event: target, emoji, remove, mentions, attachments, reply_event } = payload;
  const event = { id, sequence, index, room_id, timestamp, from: me, encrypted: true, ack_id };
  if (kind === "edit") return { ...event, type: "message_edit", message_id: target, payload: { text }, mentions, edited_at: timestamp };
  if (kind === "delete") return { ...event, type: "message_delete", message_id: target, scope: "everyone" };
  if (kind === "reaction") return { ...event, type: "reaction", message_id: target, emoji, remove: Boolean(remove) };
  const files = (attachments ?? []).map((file) => ({ ...file, content_type: file.type, encrypted: true }));
  const said = { payload: kind === "custom" ? data : { text }, mentions, attachments: files, reply_to: reply_event };
  return { ...event, type: "message", ...said, ref: { from: me, id: ack_id }, reactions: [] };
}
