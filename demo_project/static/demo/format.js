// Times and texts, for people.

const DAY = 86_400_000; // ms
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const longDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export function timeOf(timestamp) {
  return clock.format(new Date(timestamp));
}

export function exactTime(timestamp) {
  return exact.format(new Date(timestamp));
}

/** For the list of chats: the time today, then the day, then the date. */
export function when(timestamp) {
  const date = new Date(timestamp);
  const days = daysAgo(date);
  if (days <= 0) return clock.format(date);
  if (days === 1) return "Yesterday";
  if (days < 7) return weekday.format(date);
  return date.getFullYear() === new Date().getFullYear() ? shortDate.format(date) : fullDate.format(date);
}

/** For the separators between days. */
export function dayName(timestamp) {
  const date = new Date(timestamp);
  const days = daysAgo(date);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return date.getFullYear() === new Date().getFullYear() ? longDay.format(date) : fullDate.format(date);
}

/** A key that differs between days of the local calendar. */
export function dayKey(timestamp) {
  return new Date(timestamp).toDateString();
}

export function lastSeen({ online, last_seen }) {
  if (online) return "online";
  if (!last_seen) return "offline";
  const minutes = Math.floor((Date.now() - Date.parse(last_seen)) / 60_000);
  if (minutes < 1) return "last seen just now";
  if (minutes < 60) return `last seen ${minutes} min ago`;
  const days = daysAgo(new Date(last_seen));
  if (days === 0) return `last seen at ${timeOf(last_seen)}`;
  if (days === 1) return `last seen yesterday at ${timeOf(last_seen)}`;
  return `last seen ${when(last_seen)}`;
}

/** Seconds as a clock: 0:07, 12:34, 1:02:03 */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Seconds in words: 7 s, 12 min, 1 h 2 min */
export function spoken(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The text of a message's payload: {"text"}, a plain string, or any JSON as a block. */
export function payloadText(payload) {
  if (typeof payload === "string") return { text: payload };
  if (typeof payload?.text === "string") return { text: payload.text };
  return { text: JSON.stringify(payload, null, 2) ?? "", isData: true };
}

/** "Anna", "Anna and Bob", "Anna, Bob and 3 more" */
export function names(list, most = 2) {
  if (list.length <= 1) return list.join("");
  if (list.length <= most) return `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
  return `${list.slice(0, most).join(", ")} and ${list.length - most} more`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** What a `room` event says in the log. */
export function roomEventText(event, nameOf, meId) {
  const label = (id, username) => (String(id) === meId ? "you" : nameOf(id, username));
  const members = event.members ?? [];
  const actor = event.from ? capital(label(event.from, event.username)) : "Somebody";
  const whom = names(
    members.map((member) => label(member.user_id, member.username)),
    3,
  );
  // Without an actor, or when somebody acts on themselves, the sentence is about the members.
  const alone = !event.from || (members.length === 1 && String(members[0].user_id) === String(event.from));
  const subject = alone && whom ? capital(whom) : actor;
  const room = `“${event.room?.name ?? ""}”`;
  switch (event.action) {
    case "created":
      return event.room?.room_type === "direct" ? "The conversation begins here" : `${actor} created ${room}`;
    case "joined":
      return alone || !whom ? `${subject} joined` : `${actor} added ${whom}`;
    case "left":
      return `${subject} left`;
    case "removed":
      return alone || !whom ? `${subject} left` : `${actor} removed ${whom}`;
    case "invited":
      return `${actor} invited ${whom}`;
    case "declined":
      return `${subject} declined the invitation`;
    case "role":
      return event.from ? `${actor} made ${whom} ${members[0]?.role ?? "member"}` : `${capital(whom)} now owns ${room}`;
    case "muted":
      return `${actor} muted ${whom}`;
    case "unmuted":
      return `${actor} let ${whom} write again`;
    case "banned":
      return `${actor} banned ${whom}`;
    case "unbanned":
      return `${actor} lifted the ban of ${whom}`;
    case "pinned":
      return `${actor} pinned a message`;
    case "unpinned":
      return `${actor} unpinned a message`;
    case "deleted":
      return `${actor} deleted ${room}`;
    default:
      return `${actor} changed the details of ${room}`;
  }
}

function capital(text) {
  return text === "you" ? "You" : text.replace(/^you( and|,)/, "You$1");
}

/** Calendar days between then and today. */
function daysAgo(date) {
  const midnight = (of) => new Date(of.getFullYear(), of.getMonth(), of.getDate()).getTime();
  return Math.round((midnight(new Date()) - midnight(date)) / DAY);
}
