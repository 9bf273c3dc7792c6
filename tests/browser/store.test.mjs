// The messenger's state, fed by REST answers and frames in whatever order they come.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

globalThis.document = { body: { dataset: {} }, querySelectorAll: () => [] };
const { Store } = await import("../../demo_project/static/demo/store.js");

let client, store, asked;

beforeEach(() => {
  asked = [];
  client = Object.assign(new EventTarget(), {
    on: (type, listener) => client.addEventListener(type, (event) => listener(event.detail)),
    tell: (type, detail) => client.dispatchEvent(new CustomEvent(type, { detail })),
    rest: { get: (path) => new Promise((resolve) => asked.push({ path, resolve })) },
    markDelivered() {},
    markRead() {},
    outgoing: [],
  });
  store = new Store(client, { id: "1", username: "ann" });
});

const turns = () => new Promise((resolve) => setTimeout(resolve, 5));
const ben = (online) => ({ user_id: "2", username: "ben", display_name: "Ben", online, last_seen: null });
const room = (id, last_sequence, more = {}) => ({ id, name: id, room_type: "group", role: "member", unread: 0, last_sequence, last_index: 1, read_index: 1, ...more });

test("who comes online while the list of chats is on its way is online", async () => {
  const loading = store.loadRooms();
  client.tell("presence", { user_id: "2", username: "ben", online: true });
  asked[0].resolve({ results: [room("direct", 5, { room_type: "direct", peer: ben(false) })], next: null });
  await loading;
  assert.deepEqual([store.people.get("2").online, store.rooms.get("direct").peer.online], [true, true]);

  const again = store.loadRooms();
  asked[1].resolve({ results: [room("direct", 5, { room_type: "direct", peer: ben(false) })], next: null });
  await again; // which was asked for after they had come, and so is newer
  assert.deepEqual([store.people.get("2").online, store.rooms.get("direct").peer.online], [false, false]);
});

test("who comes online while the members are on their way is online", async () => {
  const loading = store.loadMembers("group");
  client.tell("presence", { user_id: "2", username: "ben", online: true });
  asked[0].resolve({ results: [{ ...ben(false), role: "member" }], next: null });
  await loading;
  assert.deepEqual([store.people.get("2").online, store.thread("group").members.get("2").online], [true, true]);
});

test("a chat that moves to the front while the pages of the list are on their way stays", async () => {
  const first = store.loadRooms();
  asked[0].resolve({ results: [room("a", 9), room("b", 8), room("c", 7)], next: null });
  await first;
  const again = store.loadRooms();
  asked[1].resolve({ results: [room("a", 9)], next: "page 2" });
  await turns();
  client.tell("message", { room_id: "c", id: "m", from: "2", username: "ben", sequence: 10, index: 2, payload: "hello", timestamp: "2026-01-01T00:00:00Z" });
  asked[2].resolve({ results: [room("b", 8)], next: null });
  await again;
  assert.deepEqual([...store.rooms.keys()].sort(), ["a", "b", "c"]);

  // One that is gone goes.
  const last = store.loadRooms();
  asked[3].resolve({ results: [room("a", 9), room("c", 10)], next: null });
  await last;
  assert.deepEqual([...store.rooms.keys()].sort(), ["a", "c"]);
});
