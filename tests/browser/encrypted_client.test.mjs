// The encrypted client against a server that it does not trust.
import assert from "node:assert/strict";
import { test } from "node:test";

import { AccountKey, Device, DeviceList, MemoryStore } from "../../mana_e2ee/static/mana_e2ee/e2ee.js";
import { checkedContent, decode, encode } from "../../mana_e2ee/static/mana_e2ee/client/contents.js";
import { LinkCode } from "../../mana_e2ee/static/mana_e2ee/client/linkcode.js";
import { wins } from "../../mana_e2ee/static/mana_e2ee/client/rosters.js";
import { Address } from "../../mana_e2ee/static/mana_e2ee/records.js";
import { World, happened } from "./encryption_world.mjs";

const b64 = (bytes) => Buffer.from(bytes).toString("base64");

async function two(options = {}) {
  const world = new World();
  const [anna, bob] = [await world.device("1", "one", options), await world.device("2", "one", options)];
  world.room("direct", "direct", "1", "2");
  return { world, anna, bob };
}

/** A device of somebody else's making, in a list of its own. */
async function forged(user, device = "one") {
  const made = await Device.generate(new MemoryStore(), new Address(user, device));
  const account = await AccountKey.generate();
  const list = await DeviceList.create(account, user, [made.record]);
  const { record, signedPrekey, kemPrekey, oneTime } = await made.publishBundle({ oneTime: 2 });
  const keys = {
    ...{ record: b64(record.toBytes()), signed_prekey: b64(signedPrekey.toBytes()), kem_prekey: b64(kemPrekey.toBytes()) },
    one_time: oneTime.map((key) => b64(key.toBytes())),
  };
  return { list: b64(list.toBytes()), keys };
}

test("two people write to each other, and a frame says nothing", async () => {
  const { anna, bob } = await two();
  const { told, sealed } = await anna.say("direct", "hello bob");
  assert.deepEqual(told["2"].payload, { text: "hello bob" });
  assert.equal(JSON.stringify(sealed).includes("hello"), false);
  const back = await bob.say("direct", "hello anna");
  assert.deepEqual(back.told["1"].payload, { text: "hello anna" });
});

test("a message that is sent again is the same frame, until the server knows other devices", async () => {
  const { anna } = await two();
  const outgoing = { ack_id: "a".repeat(32), room_id: "direct", payload: { kind: "text", text: "once" } };
  const first = await anna.cipher.seal(outgoing);
  assert.deepEqual(await anna.cipher.seal(outgoing), first);
  await anna.cipher.refused(outgoing);
  const anew = await anna.cipher.seal(outgoing);
  assert.equal(anew.ack_id, first.ack_id);
  assert.notDeepEqual(anew.payloads, first.payloads);
});

test("of two tabs that write the same sent message down at once, both show it", async () => {
  const { world, anna } = await two();
  const outgoing = { ack_id: "c".repeat(32), room_id: "direct", payload: { kind: "text", text: "from the other tab" } };
  await anna.cipher.seal(outgoing);
  const { id: message_id, ...frame } = world.frame("message", anna, { room_id: "direct", payload: null, ack_id: outgoing.ack_id });
  const { store } = anna;
  const transaction = store.transaction.bind(store);
  store.transaction = async (work) => {
    const done = await transaction(work);
    store.transaction = transaction; // this tab has looked whether it is known, and the other one is told that it is sent
    anna.emit("outgoing", { ack_id: outgoing.ack_id, sealed: true, status: "sent", ack: { ...frame, message_id } });
    return done;
  };
  const told = await anna.cipher.open({ ...frame, id: message_id });
  assert.deepEqual([told.payload, told.unreadable], [{ text: "from the other tab" }, undefined]);
});

test("a group under sender keys, with a log of its members", async () => {
  const world = new World();
  const options = { pairwise: 0 };
  const [anna, bob, carl] = await Promise.all(["1", "2", "3"].map((id) => world.device(id, "one", options)));
  world.room("group", "group", "1", "2", "3");
  const { told, sealed } = await anna.say("group", "to all");
  assert.equal(typeof sealed.payload, "string");
  assert.deepEqual([told["2"].payload, told["3"].payload], [{ text: "to all" }, { text: "to all" }]);
  assert.deepEqual((await bob.say("group", "from bob")).told["1"].payload, { text: "from bob" });

  // Carl is removed: the key changes, and he can't read on.
  world.rooms.get("group").members.pop();
  for (const one of [anna, bob]) one.emit("room", { room_id: "group" });
  const later = await anna.say("group", "without carl");
  assert.deepEqual(later.told["2"].payload, { text: "without carl" });
  const frame = world.frame("message", anna, { room_id: "group", payload: later.sealed.payload });
  assert.equal((await world.deliver("3", "one", frame)).unreadable, "waiting");

  // The server puts somebody into the room: nothing is sent until a member lets them in.
  world.rooms.get("group").members.push("3");
  anna.emit("room", { room_id: "group" });
  await assert.rejects(anna.say("group", "who is that"), { code: "unknown_member", users: ["3"] });
  await anna.encrypted.admit("group", ["3"]);
  await world.waiting;
  assert.deepEqual((await anna.say("group", "welcome")).told["2"].payload, { text: "welcome" });
});

test("a message that does not open heals by itself", async () => {
  const world = new World();
  const store = new MemoryStore();
  const [anna, bob] = [await world.device("1"), await world.device("2", "one", { store })];
  world.room("direct", "direct", "1", "2");
  await anna.say("direct", "first");
  await bob.say("direct", "answer");
  await store.transaction(async (tx) => {
    for (const table of ["session", "active", "archived"]) for (const [key] of await tx.scan(table)) tx.delete(table, key);
  });
  const { told, place } = await anna.say("direct", "from a lost session");
  assert.equal(told["2"].unreadable, "waiting");
  const healed = await happened(bob, "opened");
  assert.deepEqual([healed.id, healed.index, healed.payload], [place.id, place.index, { text: "from a lost session" }]);
  assert.deepEqual((await anna.say("direct", "and on")).told["2"].payload, { text: "and on" });
});

test("a replay tells nothing twice, and a message of another room is refused", async () => {
  const { world, anna } = await two();
  world.room("other", "direct", "1", "2");
  const { sealed, place } = await anna.say("direct", "once", { except: ["2"] });
  const payload = sealed.payloads["2"].one;
  const moved = world.frame("message", anna, { room_id: "other", payload });
  assert.equal((await world.deliver("2", "one", moved)).unreadable, "invalid");
  const replayed = { ...world.frame("message", anna, { room_id: "direct", payload }), ...place };
  assert.notDeepEqual((await world.deliver("2", "one", replayed)).payload, { text: "once" });
});

test("a spoofed sender is refused", async () => {
  const { world, anna, bob } = await two();
  const eve = await world.device("3");
  world.room("eve", "direct", "3", "2");
  const { sealed } = await eve.say("eve", "I am Anna", { except: ["2"] });
  const payload = sealed.payloads["2"].one;
  const told = await world.deliver("2", "one", world.frame("message", anna, { room_id: "direct", payload }));
  assert.equal(told.payload, null);
  assert.equal(bob.encrypted.seen.at(-1).type, "undecryptable");
});

test("a swapped bundle is refused", async () => {
  const { world, anna } = await two();
  world.user("2").devices.set("one", (await forged("2")).keys);
  await assert.rejects(anna.say("direct", "to whom?"), { code: "untrusted_identity" });
});

/** Bob has linked a second device, and Anna knows: {first, second}, his lists. */
async function linked() {
  const world = new World();
  const store = new MemoryStore();
  const [anna, bob] = [await world.device("1"), await world.device("2", "one", { store })];
  world.room("direct", "direct", "1", "2");
  await anna.say("direct", "hello");
  const phone = await world.device("2", "phone");
  assert.equal(phone.encrypted.status, "unlinked");
  const { text } = await phone.encrypted.showLinkCode();
  assert.equal(await bob.encrypted.link(text), "phone");
  await happened(phone, "linked");
  anna.emit("device_list", { user_id: "2" });
  assert.deepEqual((await happened(anna, "devices_changed")).added, ["phone"]);
  const account = await AccountKey.fromSeed(await store.transaction((tx) => tx.get("client_own", "seed")));
  return { world, anna, bob, phone, account, lists: world.user("2").lists };
}

test("a device that was linked reads, and writes", async () => {
  const { world, anna, phone } = await linked();
  const { sealed } = await anna.say("direct", "to both", { except: ["2"] });
  assert.deepEqual(Object.keys(sealed.payloads["2"]).sort(), ["one", "phone"]);
  const frame = world.frame("message", anna, { room_id: "direct", payload: sealed.payloads["2"].phone });
  assert.deepEqual((await world.deliver("2", "phone", frame)).payload, { text: "to both" });
  assert.deepEqual((await phone.say("direct", "from the phone")).told["1"].payload, { text: "from the phone" });
});

test("a device that was removed says so, can't send, and may be linked again", async () => {
  const { bob, phone } = await linked();
  await bob.encrypted.unlink("phone");
  phone.emit("device_list", { user_id: "2" });
  assert.equal((await happened(phone, "status")).status, "replaced");
  await assert.rejects(phone.say("direct", "still me"), { code: "not_linked" });
  const told = new Promise((resolve) => phone.encrypted.on("linked", resolve));
  await bob.encrypted.link((await phone.encrypted.showLinkCode()).text);
  await told;
  assert.deepEqual((await phone.say("direct", "back again")).told["1"].payload, { text: "back again" });
});

test("a device list that goes back is refused", async () => {
  const { world, anna, lists } = await linked();
  world.user("2").lists = lists.slice(0, 1);
  world.user("2").devices.delete("phone");
  anna.emit("room", { room_id: "direct" });
  await assert.rejects(anna.say("direct", "to the past"), { code: "list_refused", userId: "2" });
});

test("a device list that forks is refused, although the account signed it", async () => {
  const { world, anna, account, lists } = await linked();
  const first = DeviceList.fromBytes(Buffer.from(lists[0], "base64"));
  const fork = await first.next(account, first.devices);
  const third = await fork.next(account, first.devices);
  world.user("2").lists = [lists[0], fork, third].map((list) => (typeof list === "string" ? list : b64(list.toBytes())));
  world.user("2").devices.delete("phone");
  anna.emit("room", { room_id: "direct" });
  await assert.rejects(anna.say("direct", "to a fork"), { code: "list_refused", userId: "2" });
});

test("another account key is told, and nothing is sent before the user agrees", async () => {
  const { world, anna } = await two();
  await anna.say("direct", "hello");
  const { list, keys } = await forged("2");
  world.user("2").lists = [list];
  world.user("2").devices.set("one", keys);
  anna.emit("device_list", { user_id: "2" });
  assert.equal((await happened(anna, "account_changed")).userId, "2");
  await assert.rejects(anna.say("direct", "to whom?"), { code: "account_changed", userId: "2" });
  assert.equal((await anna.encrypted.safetyNumber("2")).changed, true);
  await anna.encrypted.trustAccount("2");
  const { sealed } = await anna.say("direct", "agreed", { except: ["2"] });
  assert.deepEqual(Object.keys(sealed.payloads), ["2"]);
});

test("only the account key that the user has looked at is agreed to, and verified", async () => {
  const { world, anna } = await two();
  await anna.say("direct", "hello");
  const become = async () => {
    const { list, keys } = await forged("2");
    world.user("2").lists = [list];
    world.user("2").devices.set("one", keys);
    const changed = new Promise((resolve) => anna.encrypted.on("account_changed", resolve));
    anna.emit("device_list", { user_id: "2" });
    await changed;
    return anna.encrypted.safetyNumber("2");
  };
  const first = await anna.encrypted.safetyNumber("2");
  const shown = await become();
  const newest = await become(); // while the dialog is open
  assert.equal(new Set([first.account, shown.account, newest.account]).size, 3);
  await assert.rejects(anna.encrypted.trustAccount("2", shown.account), { code: "account_changed", userId: "2" });
  await assert.rejects(anna.say("direct", "to whom?"), { code: "account_changed" });
  await anna.encrypted.trustAccount("2", newest.account);
  await assert.rejects(anna.encrypted.trustAccount("2", shown.account), { code: "account_changed" }); // agreed to in another tab
  await assert.rejects(anna.encrypted.setVerified("2", true, first.account), { code: "account_changed", userId: "2" });
  assert.equal(await anna.encrypted.isVerified("2"), false);
  await anna.encrypted.setVerified("2", true, newest.account);
  assert.equal(await anna.encrypted.isVerified("2"), true);
});

test("members who come while they are being asked for are known afterwards", async () => {
  const { world, anna } = await two();
  world.room("group", "group", "1", "2");
  await world.device("3");
  let asked = 0;
  world.lies = (answer, [root, , what]) => {
    if (root === "rooms" && what === "members" && (asked += 1) === 1) {
      // The server has answered; before that is read, somebody joins.
      world.rooms.get("group").members.push("3");
      anna.emit("room", { room_id: "group" });
    }
    return answer;
  };
  const state = await anna.encrypted.roomState("group");
  assert.deepEqual([state.encrypted, state.without, asked], [true, [], 2]);
  const { sealed } = await anna.say("group", "to all three");
  assert.deepEqual(Object.keys(sealed.payloads ?? {}).filter((user) => user !== "1").sort(), ["2", "3"]);
});

test("a device that is linked leaves the backup of the others as it is", async () => {
  const { world, anna, bob } = await two();
  const key = await bob.encrypted.enableBackup();
  await anna.say("direct", "hello");
  await bob.encrypted.enableBackup(); // with the message in it
  const phone = await world.device("2", "phone");
  const latest = await bob.encrypted.recoveryKey();
  assert.notEqual(latest, key);
  await bob.encrypted.link((await phone.encrypted.showLinkCode()).text);
  await happened(phone, "linked");
  await world.waiting;
  await phone.encrypted.devices();
  assert.equal(await phone.encrypted.recoveryKey(), latest);
  const tablet = await world.device("2", "tablet");
  assert.equal(await tablet.encrypted.restoreBackup(latest), 1);
});

test("the recovery key of another device is taken, and what it opens is written anew", async () => {
  const { world, bob, phone } = await linked();
  await phone.encrypted.enableBackup();
  await world.waiting;
  const key = await bob.encrypted.enableBackup();
  // The phone's backup, under the key that it knew, came after that one.
  const late = world.user("2").backup;
  await world.waiting;
  assert.equal(await phone.encrypted.recoveryKey(), key);
  assert.notEqual(world.user("2").backup, late);
  const tablet = await world.device("2", "tablet");
  await tablet.encrypted.restoreBackup(key);
  assert.equal(tablet.encrypted.status, "ready");
});

test("who starts over leaves neither a backup nor its key to the devices before", async () => {
  const { world, anna } = await two();
  await anna.encrypted.enableBackup();
  assert.ok(world.user("1").backup);
  await anna.encrypted.startOver();
  assert.deepEqual([world.user("1").backup, await anna.encrypted.recoveryKey(), anna.encrypted.status], [undefined, null, "ready"]);
});

test("a backup that is given up while it is being written stays away", async () => {
  const { world, anna } = await two();
  const enabling = anna.encrypted.enableBackup();
  const disabling = anna.encrypted.disableBackup();
  await Promise.all([enabling, disabling]);
  assert.deepEqual([world.user("1").backup, await anna.encrypted.recoveryKey()], [undefined, null]);
});

test("many notices of few prekeys upload once, and an upload whose answer is lost is made again with the same keys", async () => {
  const { world, anna } = await two();
  const { one_time } = world.user("1").devices.get("one");
  const uploads = [];
  world.loses = (method, path) => method === "POST" && path.endsWith("/prekeys") && uploads.push(one_time.length) === 1;
  one_time.splice(0, one_time.length - 10);
  const notice = () => anna.emit("prekeys_low", { device_id: "one", remaining: 10 });
  const turns = async () => {
    for (let turn = 0; turn < 200 && uploads.length < 2; turn += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  for (let times = 0; times < 12; times += 1) notice();
  await turns();
  await anna.encrypted.devices();
  assert.equal(uploads.length, 2); // the one whose answer was lost, and that again
  assert.equal(new Set(one_time).size, 100);
});

test("restoring that broke off on the way is no linked device, and can be done again", async () => {
  const { world, bob } = await linked();
  const key = await bob.encrypted.enableBackup();
  const tablet = await world.device("2", "tablet");
  world.loses = (method, path) => method === "PUT" && path === "e2ee/device-list";
  await assert.rejects(tablet.encrypted.restoreBackup(key));
  world.loses = () => false;
  await tablet.connected();
  assert.equal(tablet.encrypted.status, "unlinked");
  await tablet.encrypted.restoreBackup(key);
  assert.equal(tablet.encrypted.status, "ready");
  assert.ok(await tablet.encrypted.recoveryKey());
});

test("a verification that is taken back is taken back on the other devices too, and says nothing of others", async () => {
  const { world, bob, phone } = await linked();
  const verified = async () => [await bob.encrypted.isVerified("1"), await phone.encrypted.isVerified("1")];
  await bob.encrypted.setVerified("1");
  await world.waiting;
  assert.deepEqual(await verified(), [true, true]);
  await bob.encrypted.setVerified("1", false);
  await world.waiting;
  assert.deepEqual(await verified(), [false, false]);
});

test("the code that is shown is the same in all tabs, and after a reload", async () => {
  const { world } = await linked();
  const tablet = await world.device("2", "tablet");
  const { text } = await tablet.encrypted.showLinkCode();
  assert.equal((await tablet.encrypted.showLinkCode()).text, text);
});

test("a message that was deleted while it could not be opened stays deleted", async () => {
  const { world, anna, bob } = await two();
  await anna.say("direct", "hello");
  await bob.store.transaction(async (tx) => {
    for (const table of ["session", "active", "archived"]) for (const [key] of await tx.scan(table)) tx.delete(table, key);
  });
  const { place } = await anna.say("direct", "held");
  bob.emit("message_delete", { message_id: place.id, room_id: "direct", scope: "everyone" });
  await world.waiting;
  await new Promise((resolve) => setTimeout(resolve, 50));
  await world.waiting;
  const [event] = await bob.encrypted.decorate([{ type: "message", id: place.id, room_id: "direct", encrypted: true, deleted: true }]);
  assert.notEqual(event.payload?.text, "held");
  assert.equal((await bob.encrypted.search("held", { limit: 5 })).length, 0);
});

test("a message that was deleted before it came stays deleted, though its sender says it again", async () => {
  const { anna, bob } = await two();
  await anna.say("direct", "hello");
  const { place, outgoing } = await anna.say("direct", "never told", { except: ["2"] });
  bob.emit("message_delete", { message_id: place.id, room_id: "direct", scope: "everyone" });
  const content = { v: 1, kind: "text", room: "direct", from: "1", device: "one", at: 1 };
  const again = (message_id, id, text) => anna.control("2", "one", { control: "resend", message_id, content: { ...content, id, text } });
  await again(place.id, outgoing.ack_id, "never told");
  await again("another", "0".repeat(32), "told");
  assert.deepEqual((await bob.encrypted.search("told")).map(({ payload }) => payload.text), ["told"]);
});

test("what is sealed opens once, for its purpose and context alone", async () => {
  const { anna, bob } = await two();
  const call = { purpose: "call", context: "c1" };
  const key = new Uint8Array(32).fill(7);
  const sealed = (await anna.encrypted.seal(["2"], key, call))["2"].one;
  await assert.rejects(bob.encrypted.open("1", "one", (await anna.encrypted.seal(["2"], key, call))["2"].one, { ...call, context: "c2" }), {
    code: "invalid_content",
  });
  assert.deepEqual(await bob.encrypted.open("1", "one", sealed, call), key);
  await assert.rejects(bob.encrypted.open("1", "one", sealed, call), { code: "duplicate_message" });
});

test("a call's keys are sealed for the devices of who is in it", async () => {
  const { anna, bob } = await two();
  const sealed = await anna.encrypted.keyTransport.seal(["2"], { key: "k" }, { call_id: "c1" });
  const given = { from: "1", device_id: "one", sealed: sealed["2"] };
  assert.deepEqual(await bob.encrypted.keyTransport.open({ ...given, call_id: "c1" }), { key: "k" });
  await assert.rejects(bob.encrypted.keyTransport.open({ ...given, call_id: "c1" }), { code: "duplicate_message" });
});

test("a link code has a checksum, and a proof that depends on all of it", async () => {
  const record = (await Device.generate(new MemoryStore(), new Address("1", "new"))).record;
  const old = (await Device.generate(new MemoryStore(), new Address("1", "old"))).record;
  const code = await LinkCode.make(record);
  const text = await code.text();
  assert.match(text, /^([a-z2-7]{4}-){13}[a-z2-7]{4}$/);
  for (const same of [text, text.toUpperCase(), await code.qr()]) assert.deepEqual((await LinkCode.fromText(same)).secret, code.secret);
  const wrong = (text[0] === "a" ? "b" : "a") + text.slice(1);
  await assert.rejects(LinkCode.fromText(wrong), { code: "code_wrong" });
  const key = new Uint8Array(32).fill(9);
  const proof = await code.proof(key, old, record);
  assert.notDeepEqual(await code.proof(key, record, old), proof);
  assert.notDeepEqual(await (await LinkCode.make(record)).proof(key, old, record), proof);
});

test("contents of another version, sender, room or shape are refused", () => {
  const sender = { user: "1", device: "one" };
  const good = { v: 1, kind: "text", room: "r", from: "1", device: "one", id: "0".repeat(32), at: 1, text: "x" };
  assert.equal(checkedContent(decode(encode(good)), "r", sender).text, "x");
  const bad = [{ room: "s" }, { from: "2" }, { device: "two" }, { id: "x" }, { at: 1.5 }, { kind: "toString" }, { text: 1 }];
  bad.push({ text: "" }, { reply_to: {} }, { mentions: [1] }, { attachments: [{}] }, { kind: "edit" }, { kind: "reaction", target: good, emoji: "" });
  for (const change of bad) assert.throws(() => checkedContent({ ...good, ...change }, "r", sender), { code: "invalid_content" });
  assert.throws(() => decode(encode({ ...good, v: 2 })), { code: "invalid_content" });
  assert.throws(() => encode({ text: "x".repeat(40_000) }), { code: "too_large" });
});

test("of two entries after the same one, the removal of the other's author wins, else the older", async () => {
  const hash = (byte) => async () => new Uint8Array(32).fill(byte);
  const entry = (action, subject, user, created, byte) => ({ action, subject, actor: { user }, created, hash: hash(byte) });
  const removesBob = entry(2, "bob", "anna", 20, 9);
  const byBob = entry(1, "carl", "bob", 10, 1);
  assert.equal(await wins(removesBob, byBob), true);
  assert.equal(await wins(byBob, removesBob), false);
  assert.equal(await wins(entry(1, "x", "anna", 10, 9), entry(1, "y", "bob", 20, 1)), true);
  assert.equal(await wins(entry(1, "x", "anna", 10, 1), entry(1, "y", "bob", 10, 9)), true);
});
