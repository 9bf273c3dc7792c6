// A chat of everybody on this page, whatever node serves them.
import { ManaClient } from "/static/mana/mana.js";

const ROOM = "example-clustering";
const client = new ManaClient();
const nodes = document.getElementById("nodes");
const said = document.getElementById("said");

function line(testid, strong, rest) {
  const row = document.createElement("li");
  row.dataset.testid = testid;
  row.append(Object.assign(document.createElement("strong"), { textContent: strong }), rest);
  return row;
}

function show(name, text) {
  document.getElementById("empty")?.remove();
  said.prepend(line("said", name, text));
  while (said.children.length > 50) said.lastElementChild.remove();
}

async function refresh() {
  const answer = await fetch(nodes.dataset.url, { credentials: "same-origin" });
  if (!answer.ok) return;
  const { nodes: alive, mine } = await answer.json();
  nodes.replaceChildren(...alive.map(({ id, sockets }) => line("cluster-node", id, `${sockets} sockets`)));
  const own = mine[client.welcome?.session_id];
  document.getElementById("node").textContent = own ?? "…";
  if (!own) setTimeout(refresh, 500); // a session is stored a moment after it began
}

client.on("welcome", async () => {
  await client.join(ROOM, { name: "Clustering" });
  await refresh();
});
client.on("message", (message) => {
  if (message.room_id === ROOM) show(message.username, String(message.payload?.text ?? ""));
});
client.on("outgoing", (message) => {
  if (message.status === "sent" && message.room_id === ROOM) show("You", message.payload.text);
});
for (const type of ["presence", "room"]) client.on(type, refresh); // somebody came or went
document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = event.target.elements.text;
  client.send({ room_id: ROOM, payload: { text: field.value } });
  field.value = "";
});
client.connect();
