// The encrypted client against a server, a member and a network that mean it no good.
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { AccountKey, Device, DeviceList, MemoryStore, PreKeyBundle, processPrekeyBundle } from "../../mana_e2ee/static/mana_e2ee/e2ee.js";
import { decode, encode } from "../../mana_e2ee/static/mana_e2ee/client/contents.js";
import { Vault } from "../../mana_e2ee/static/mana_e2ee/client/vault.js";
import { Address } from "../../mana_e2ee/static/mana_e2ee/records.js";
import { World, happened } from "./encryption_world.mjs";

const b64 = (bytes) => Buffer.from(bytes).toString("base64");
const DAY = 86_400_000;

async function two(options = {}) {
  const world = new World();
  const [anna, bob] = [await world.device("1", "one", options), await world.device("2", "one", options)];
  world.room("direct", "direct", "1", "2");
  return { world, anna, bob };
}

/** Anna and Bob, who has linked a second device, which Anna knows. */
async function linked() {
  const { world, anna, bob } = await two();
  await anna.say("direct", "hello");
  const phone = await world.device("2", "phone");
  await bob.encrypted.link((await phone.encrypted.showLinkCode()).text);
  await happened(phone, "linked");
  anna.emit("device_list", { user_id: "2" });
  await happened(anna, "devices_changed");
  return { world, anna, bob, phone };
}

const seedOf = ({ store }) => store.transaction((tx) => tx.get("client_own", "seed"));
const listOf = (text) => DeviceList.fromBytes(Buffer.from(text, "base64"));

/** A list of the same devices under an account key of the server's own. */
async function otherList(user) {
  const made = await Device.generate(new MemoryStore(), new Address(user, "one"));
  return b64((await DeviceList.create(await AccountKey.generate(), user, [made.record])).toBytes());
}

test("an edit or a reaction that the server makes up does not touch an encrypted message", async () => {
  const { world, anna, bob } = await two();
  const { place, told } = await anna.say("direct", "the true text");
  const clear = { message_id: place.id, room_id: "direct", from: "1", sequence: 90, index: 90 };
  for (const frame of [
    { type: "message_edit", id: "x1", payload: { text: "forged" }, ...clear },
    { type: "message_edit", id: "x2", payload: { text: "forged" }, encrypted: true, ...clear },
    { type: "reaction", id: "x3", emoji: "👎", count: 1, ...clear },
  ]) {
    assert.equal(bob.cipher.covers(frame), true);
    assert.equal(await bob.cipher.open(frame), null);
  }
  const plain = { type: "message_edit", id: "x4", payload: { text: "better" }, ...clear, message_id: "from before" };
  assert.deepEqual(await bob.cipher.open(plain), plain);
  const stored = { type: "message", ...place, room_id: "direct", from: "1", device_id: "one", payload: { text: "forged" } };
  const lies = { edited_at: "2026-01-01", reply_to: "another", reactions: [{ emoji: "👎", count: 1, user_ids: ["1"] }] };
  for (const encrypted of [true, false]) {
    const [shown] = await bob.encrypted.decorate([{ ...stored, ...lies, encrypted }]);
    assert.deepEqual([shown.payload, shown.encrypted], [told["2"].payload, true]);
    assert.deepEqual([shown.edited_at, shown.reply_to, shown.reactions], [undefined, undefined, []]);
  }
});

test("nothing goes out in the clear where something encrypted was sent or read, also after a reload", async () => {
  const { world, anna, bob } = await two();
  assert.equal(anna.cipher.allows({ room_id: "direct" }), true);
  await anna.say("direct", "hello");
  const again = await world.device("2", "one", { store: bob.store });
  for (const client of [anna, bob, again]) {
    assert.equal(client.cipher.allows({ room_id: "direct" }), false);
    assert.equal(client.cipher.allows({ to: client.userId === "1" ? "2" : "1" }), false);
    assert.equal(client.cipher.allows({ room_id: "another" }), true);
  }
});

test("a server that denies somebody's keys opens no way to the clear", async () => {
  const { world, anna } = await two();
  world.room("new", "direct", "1", "2");
  assert.equal((await anna.encrypted.roomState("new")).encrypted, true);
  world.lies = (answer, [, kind]) => (kind === "rooms" ? { results: answer.results.filter(({ user_id }) => user_id === "1") } : answer);
  anna.emit("room", { room_id: "new" });
  const state = await anna.encrypted.roomState("new");
  assert.deepEqual([state.encrypted, state.forever, state.without], [true, false, []]);
  await assert.rejects(anna.say("new", "is anybody there?"), { code: "no_devices" });
});

test("a device that is not linked sends nothing in the clear in the place of what it can't encrypt", async () => {
  const { world } = await two();
  const tablet = await world.device("1", "tablet");
  assert.equal(tablet.encrypted.status, "unlinked");
  assert.equal((await tablet.encrypted.roomState("direct")).encrypted, true);
  await assert.rejects(tablet.say("direct", "hello"), { code: "not_linked" });
});

test("keys without a device list are neither written to nor believed", async () => {
  const { world, anna, bob } = await two();
  world.lies = (answer, [, kind, id], { userId }) => {
    if (userId !== "1") return answer;
    if (kind === "users" && id === "2") return { results: [] };
    if (kind === "bundles" && id === "2") return { ...answer, epoch: null, device_list: null };
    return answer;
  };
  await assert.rejects(anna.say("direct", "to whom?"), { code: "list_refused", userId: "2" });
  const { told } = await bob.say("direct", "it is me");
  assert.equal(told["1"].unreadable, "waiting");
  const sealed = (await bob.encrypted.seal(["1"], "key", { purpose: "call", context: "c" }))["1"].one;
  await assert.rejects(anna.encrypted.open("2", "one", sealed, { purpose: "call", context: "c" }), { code: "untrusted_identity" });
  world.lies = (answer) => answer;
  anna.emit("device_list", { user_id: "2" });
  assert.deepEqual((await happened(anna, "opened")).payload, { text: "it is me" });
});

test("a device that was linked forgets whom the server has slipped in before", async () => {
  const { world, anna } = await two();
  await anna.say("direct", "hello");
  const fake = await otherList("2");
  const lie = (answer, [, kind, id], { deviceId }) => (deviceId === "tablet" && kind === "users" && id === "2" ? { results: [{ device_list: fake }] } : answer);
  world.lies = lie;
  const tablet = await world.device("1", "tablet");
  await tablet.encrypted.roomState("direct"); // which looks at Bob's list
  const { told } = await anna.say("direct", "not for the tablet");
  assert.deepEqual(told["2"].payload, { text: "not for the tablet" });
  world.lies = (answer) => answer;
  await anna.encrypted.link((await tablet.encrypted.showLinkCode()).text);
  await happened(tablet, "linked");
  assert.deepEqual((await tablet.say("direct", "to the true one")).told["2"].payload, { text: "to the true one" });

  world.lies = lie;
  const other = await world.device("1", "other");
  await anna.encrypted.link((await other.encrypted.showLinkCode()).text);
  await happened(other, "linked");
  world.lies = (answer, [, kind, id]) => (kind === "users" && id === "2" ? { results: [{ device_list: fake }] } : answer);
  await other.encrypted.roomState("direct");
  assert.equal((await happened(other, "account_changed")).userId, "2");
});

test("a device of our own that nothing vouches for tells nothing", async () => {
  const { world, anna } = await two();
  const posing = await world.device("1", "posing");
  const tablet = await world.device("1", "tablet");
  for (const one of [anna, tablet]) {
    const { bundles } = await posing.rest.post("e2ee/bundles/1", { device_id: one.deviceId });
    const bundle = PreKeyBundle.fromBytes(Buffer.from(bundles[0].bundle, "base64"));
    await processPrekeyBundle(posing.store, new Address("1", one.deviceId), bundle);
    await posing.control("1", one.deviceId, { control: "app", name: "ring", data: 1 });
    assert.equal((await happened(one, "undecryptable")).from, "1");
    assert.equal(one.encrypted.seen.some(({ type }) => type === "app"), false);
  }
});

test("the answer to the first device list may be lost", async () => {
  const world = new World();
  world.loses = (method, path) => method === "PUT" && path === "e2ee/device-list";
  const anna = await world.device("1");
  assert.deepEqual([anna.encrypted.status, world.user("1").lists.length], ["starting", 1]);
  world.loses = () => false;
  await anna.connected();
  assert.equal(anna.encrypted.status, "ready");
  assert.equal(world.user("1").lists.length, 1);
});

test("prekeys that were rotated and not uploaded are uploaded at the next connect", async () => {
  mock.timers.enable({ apis: ["Date"], now: Date.now() });
  try {
    const { world, anna } = await two();
    mock.timers.setTime(Date.now() + 7 * DAY + 1_000);
    world.loses = (method, path) => method === "PUT" && path.startsWith("e2ee/devices/");
    const keys = () => Buffer.from(world.user("1").devices.get("one").signed_prekey, "base64").readUInt32BE();
    const before = { ...world.user("1").devices.get("one") };
    await anna.connected();
    world.user("1").devices.set("one", before); // it never got there
    assert.equal(keys(), 1);
    world.loses = () => false;
    await anna.connected();
    assert.equal(keys(), 2);
  } finally {
    mock.timers.reset();
  }
});

test("what nobody sends again within a week is lost, and said to be", async () => {
  const { world, anna, bob } = await two();
  await anna.say("direct", "first");
  await bob.say("direct", "answer");
  await bob.store.transaction(async (tx) => {
    for (const table of ["session", "active", "archived"]) for (const [key] of await tx.scan(table)) tx.delete(table, key);
  });
  bob.request = async () => ({ type: "ack" }); // what it asks for gets nowhere
  const { told, place } = await anna.say("direct", "never read");
  assert.equal(told["2"].unreadable, "waiting");
  const shown = async () => (await bob.encrypted.decorate([{ type: "message", encrypted: true, room_id: "direct", from: "1", ...place }]))[0].unreadable;
  const vault = new Vault(bob.store);
  await vault.prune(Date.now() + 7 * DAY - 60_000);
  assert.equal(await shown(), "waiting");
  await vault.prune(Date.now() + 7 * DAY + 60_000);
  assert.equal(await shown(), "lost");
  assert.deepEqual(await vault.scan("held"), []);
});

test("one device asks another once an hour, and again when it connects after that", async () => {
  const { anna, bob } = await two();
  await anna.say("direct", "first");
  await bob.say("direct", "answer");
  await bob.store.transaction(async (tx) => {
    for (const table of ["session", "active", "archived"]) for (const [key] of await tx.scan(table)) tx.delete(table, key);
  });
  const [request, asked] = [bob.request, []];
  bob.request = async (frame) => (asked.push(frame), { type: "ack" });
  for (const text of ["one", "two"]) await anna.say("direct", text);
  await bob.connected();
  assert.equal(asked.length, 1);
  bob.request = request;
  await bob.store.transaction(async (tx) => {
    for (const [key] of await tx.scan("asked")) tx.delete("asked", key); // as an hour later
  });
  const opened = [];
  const both = new Promise((resolve) => bob.encrypted.on("opened", ({ payload }) => opened.push(payload.text) === 2 && resolve()));
  await bob.connected();
  await both;
  assert.deepEqual(opened, ["one", "two"]);
});

test("a device that somebody adds to one's own account is told", async () => {
  const { world, bob } = await linked();
  const account = await AccountKey.fromSeed(await seedOf(bob));
  const current = listOf(world.user("2").lists.at(-1));
  const rogue = (await Device.generate(new MemoryStore(), new Address("2", "rogue"))).record;
  world.user("2").lists.push(b64((await current.next(account, [...current.devices, rogue])).toBytes()));
  bob.emit("device_list", { user_id: "2" });
  const { userId, added } = await happened(bob, "devices_changed");
  assert.deepEqual([userId, added], ["2", ["rogue"]]);
});

test("all devices of a user back up under the key that was shown last, or not at all", async () => {
  const { world, bob, phone } = await linked();
  await bob.encrypted.enableBackup();
  await world.waiting;
  const shown = await phone.encrypted.enableBackup();
  await world.waiting;
  assert.equal(await bob.encrypted.recoveryKey(), shown);
  const tablet = await world.device("2", "tablet");
  await phone.encrypted.link((await tablet.encrypted.showLinkCode()).text);
  await world.waiting;
  assert.equal(await tablet.encrypted.recoveryKey(), shown);
  await tablet.encrypted.disableBackup();
  await world.waiting;
  for (const one of [bob, phone]) assert.equal(await one.encrypted.recoveryKey(), null);
});

test("a list that does not follow the backup's is refused", async () => {
  const { world, bob } = await linked();
  const key = await bob.encrypted.enableBackup();
  const { lists } = world.user("2");
  const account = await AccountKey.fromSeed(await seedOf(bob));
  const first = listOf(lists[0]);
  const fork = await first.next(account, first.devices);
  const untrue = [[lists[0]], [b64(fork.toBytes())], [lists[0], b64(fork.toBytes()), b64((await fork.next(account, fork.devices)).toBytes())]];
  const tablet = await world.device("2", "tablet");
  for (const given of untrue) {
    world.user("2").lists = given;
    await assert.rejects(tablet.encrypted.restoreBackup(key), { code: "list_refused" });
    assert.equal(tablet.encrypted.status, "unlinked");
  }
  world.user("2").lists = lists;
  await tablet.encrypted.restoreBackup(key);
  assert.equal(tablet.encrypted.status, "ready");
});

test("lists without end are not read for ever", async () => {
  const { world, anna } = await two();
  await anna.say("direct", "hello");
  world.lies = (answer, [, kind]) => (kind === "users" ? { results: [{ device_list: world.user("2").lists[0] }] } : answer);
  anna.emit("device_list", { user_id: "2" });
  await new Promise((resolve) => anna.encrypted.on("devices", resolve));
});

test("a fork of the same epoch is refused when a list is named", async () => {
  const { world, anna, bob } = await linked();
  const { lists } = world.user("2");
  const account = await AccountKey.fromSeed(await seedOf(bob));
  const first = listOf(lists[0]);
  lists[1] = b64((await first.next(account, first.devices)).toBytes());
  anna.emit("device_list", { user_id: "2" });
  assert.equal((await happened(anna, "list_refused")).userId, "2");
});

test("what other clients could not write down is refused, and never made", async () => {
  const nested = (depth) => JSON.parse("[".repeat(depth) + "]".repeat(depth));
  for (const part of ['"\\ud83d"', "1e999", '{"\\ud83d": 1}', JSON.stringify(nested(70))])
    assert.throws(() => decode(Buffer.from(`{"v": 1, "data": ${part}}`)), { code: "invalid_content" });
  assert.deepEqual(decode(Buffer.from(JSON.stringify({ v: 1, data: nested(60) }))).data, nested(60));
  assert.equal(decode(encode({ v: 1, text: "a cut emoji \ud83d" })).text, "a cut emoji \ufffd");
});

test("who is no member is given no log", async () => {
  const world = new World();
  const [anna, bob, eve] = await Promise.all(["1", "2", "3"].map((id) => world.device(id)));
  world.room("group", "group", "1", "2");
  await anna.say("group", "to Bob");
  world.room("open", "direct", "1", "3");
  await eve.say("open", "hello"); // a session
  const sent = [];
  const request = anna.request;
  anna.request = (frame) => (sent.push(frame), request.call(anna, frame));
  await eve.control("1", "one", { control: "log_request", room: "group" }, { room_id: "group" });
  assert.deepEqual(sent, []);
  await bob.say("group", "hello");
  await bob.control("1", "one", { control: "log_request", room: "group" }, { room_id: "group" });
  assert.deepEqual(Object.keys(sent[0].payloads), ["2"]);
});

test("failures of one device make its true messages wait but not vanish", async () => {
  const { world, anna, bob } = await two();
  await anna.say("direct", "first");
  await bob.say("direct", "answer");
  const { sealed, place } = await anna.say("direct", "a true one", { except: ["2"] });
  const bytes = Buffer.from(sealed.payloads["2"].one, "base64");
  bytes[bytes.length - 1] ^= 1;
  for (let number = 0; number < 16; number += 1)
    await world.deliver("2", "one", world.frame("message", anna, { room_id: "direct", payload: b64(bytes) }));
  const frame = { ...world.frame("message", anna, { room_id: "direct", payload: sealed.payloads["2"].one }), ...place };
  world.user("2").waiting = [frame];
  assert.equal((await world.deliver("2", "one", frame)).unreadable, "waiting");
  const awake = setTimeout(() => {}, 20_000); // the client's own timer lets Node end
  assert.deepEqual((await happened(bob, "opened")).payload, { text: "a true one" });
  clearTimeout(awake);
  assert.deepEqual(world.user("2").waiting, []);
});
