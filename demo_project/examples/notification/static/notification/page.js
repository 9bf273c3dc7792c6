// The user's notifications: those that are stored, and those that come in while the page is open.
import { ManaClient } from "/static/mana/mana.js";

const client = new ManaClient();
const list = document.getElementById("list");
const unread = document.getElementById("unread");
const shown = new Set();

function show(one, { first = false } = {}) {
  if (shown.has(one.id)) return; // it came live while the list was being loaded
  shown.add(one.id);
  document.getElementById("empty")?.remove();
  const row = document.createElement("li");
  row.dataset.testid = "notification";
  row.append(Object.assign(document.createElement("strong"), { textContent: one.title }));
  const time = document.createElement("time");
  time.dateTime = one.timestamp;
  time.textContent = new Date(one.timestamp).toLocaleTimeString([], { timeStyle: "short" });
  row.append(time);
  if (first) list.prepend(row);
  else list.append(row);
}

async function load() {
  const page = await client.rest.get("notifications", { limit: 20 });
  for (const one of page.results) show(one);
  count((await client.rest.get("notifications/unread")).unread);
}

function count(number) {
  unread.textContent = number ? `(${number} unread)` : "";
}

client.on("notification", async (one) => {
  show(one, { first: true });
  count((await client.rest.get("notifications/unread")).unread);
});
client.on("notification_read", (frame) => count(frame.unread));
client.on("welcome", load); // also after each reconnect: what came meanwhile is in the list
client.connect();
