// The messenger's timeline of a room, against a server that answers when the test says.

import assert from "node:assert/strict";
import { test } from "node:test";

import { applyChange } from "../../demo_project/static/demo/changes.js";
import { Thread } from "../../demo_project/static/demo/thread.js";

const message = (index) => ({ id: `m${index}`, index, type: "message", payload: `text ${index}` });
const page = (first, last, previous = "older") => ({
  results: Array.from({ length: last - first + 1 }, (_, at) => message(first + at)),
  previous,
});

/** A thread, and the answers that it waits for. */
function thread() {
  const asked = [];
  const rest = { get: (path, query) => new Promise((resolve, reject) => asked.push({ path, query, resolve, reject })) };
  return { thread: new Thread(rest, "room", async (events) => events), asked };
}

const indexes = ({ events }) => events.map((event) => event.index);

test("two who want the newest page wait for the same one", async () => {
  const { thread: one, asked } = thread();
  const both = [one.load(), one.load()];
  assert.deepEqual([asked.length, one.loading], [1, true]);
  asked[0].resolve(page(1, 3, null));
  await Promise.all(both);
  assert.deepEqual([indexes(one), one.loaded, one.loading, one.hasMore], [[1, 2, 3], true, false, false]);
});

test("a page may be short though there is more", async () => {
  const { thread: one, asked } = thread();
  const loading = one.load();
  asked[0].resolve(page(40, 50));
  await loading;
  assert.equal(one.hasMore, true);
});

test("older messages that come after the chat was left and cut leave no hole", async () => {
  const { thread: one, asked } = thread();
  const loading = one.load(200);
  asked[0].resolve(page(51, 200));
  await loading;
  const older = one.loadOlder();
  one.trim();
  asked[1].resolve(page(1, 50, null));
  await older;
  assert.deepEqual([one.events[0].index, one.events.length, one.hasMore, one.loading], [151, 50, true, false]);
});

test("what was asked for before a reset is not shown after it", async () => {
  const { thread: one, asked } = thread();
  const before = one.load();
  one.reset();
  const after = one.load();
  asked[0].resolve(page(1, 2, null));
  await before;
  assert.deepEqual([one.events.length, one.loaded, one.loading], [0, false, true]);
  asked[1].resolve(page(7, 8, null));
  await after;
  assert.deepEqual([indexes(one), one.loaded, one.loading], [[7, 8], true, false]);
});

test("what was changed while a page was on its way is changed on it", async () => {
  const { thread: one, asked } = thread();
  const loading = one.load();
  const change = (event) => {
    applyChange(one, undefined, event, "me");
    one.again(() => applyChange(one, undefined, event, "me"));
  };
  change({ type: "message_edit", message_id: "m1", payload: "better" });
  change({ type: "message_delete", message_id: "m2", scope: "all" });
  change({ type: "message_delete", message_id: "m3", scope: "me" });
  change({ type: "reaction", message_id: "m4", emoji: "+", count: 1, from: "7" });
  asked[0].resolve(page(1, 4, null));
  await loading;
  assert.deepEqual(one.events.map(({ id, payload }) => [id, payload]), [["m1", "better"], ["m2", null], ["m4", "text 4"]]);
  assert.equal(one.message("m2").deleted, true);
  assert.deepEqual(one.message("m4").reactions, [{ emoji: "+", count: 1, user_ids: ["7"] }]);
  assert.equal(one.message("m3"), undefined);
});

test("an error is told, and the next try forgets it", async () => {
  const { thread: one, asked } = thread();
  const loading = one.load();
  asked[0].reject(new Error("offline"));
  await loading;
  assert.deepEqual([one.failed.message, one.loaded, one.loading], ["offline", false, false]);
  const again = one.load();
  asked[1].resolve(page(1, 1, null));
  await again;
  assert.deepEqual([one.failed, one.loaded], [null, true]);
});
