// Edits, deletions and reactions: what they do to the messages that the page knows.

/**
 * @param {import("./thread.js").Thread} thread
 * @param {object | undefined} room whose `last_message` may be the one that changes
 * @param {object} event a `message_edit`, `message_delete` or `reaction` frame
 */
export function applyChange(thread, room, event, meId) {
  const last = room?.last_message?.id === event.message_id ? room.last_message : null;
  if (event.type === "message_delete" && event.scope === "me") {
    thread.hide(event.message_id);
    if (last) room.last_message = null;
    return;
  }
  for (const message of new Set([thread.message(event.message_id), last])) if (message) change(message, event, meId);
}

function change(message, event, meId) {
  if (event.type === "message_edit") {
    if (event.payload === undefined || message.deleted) return;
    message.payload = event.payload;
    message.edited_at = event.edited_at ?? event.timestamp;
    message.mentions = event.mentions;
  } else if (event.type === "message_delete") {
    Object.assign(message, { payload: null, deleted: true, edited_at: undefined });
    for (const field of ["reactions", "attachments", "mentions"]) delete message[field];
  } else {
    react(message, event, meId);
  }
}

/** The count comes with the event, so that one that is told twice changes nothing. */
function react(message, { emoji, remove, count, from }, meId) {
  const reactions = (message.reactions ?? []).filter((one) => one.emoji !== emoji || count > 0);
  let known = reactions.find((one) => one.emoji === emoji);
  if (!known && count > 0) reactions.push((known = { emoji, count: 0, user_ids: [] }));
  if (known) {
    known.count = count;
    known.user_ids = known.user_ids.filter((id) => String(id) !== String(from));
    if (!remove) known.user_ids.push(String(from));
    if (String(from) === meId) known.me = !remove;
  }
  message.reactions = reactions;
}
