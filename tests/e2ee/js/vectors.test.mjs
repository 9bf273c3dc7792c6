// node --test tests/e2ee/js
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { checkVectors } from "./vectors.mjs";

test("the shared vectors hold", async () => {
  const vectors = JSON.parse(readFileSync(new URL("../vectors.json", import.meta.url), "utf8"));
  const compared = await checkVectors(vectors);
  assert.ok(compared > 200, `${compared} comparisons`);
  console.log(`${compared} comparisons`);
});

test("a changed vector is noticed", async () => {
  const text = readFileSync(new URL("../vectors.json", import.meta.url), "utf8");
  const changed = JSON.parse(text);
  const step = changed.conversations[0].steps.find(({ by, do: what }) => by === "bob" && what === "encrypt");
  step.message = `${step.message.slice(0, -1)}${step.message.endsWith("0") ? "1" : "0"}`;
  await assert.rejects(() => checkVectors(changed), /conversation 1 0 step/);
});

test("what is not bytes is refused, and not taken for zeros", async () => {
  const e2ee = await import("../../../mana_e2ee/static/mana_e2ee/e2ee.js");
  const [alice, bob] = [new e2ee.MemoryStore(), new e2ee.MemoryStore()];
  const address = new e2ee.Address("bob", "phone");
  await e2ee.Device.generate(alice, new e2ee.Address("alice", "phone"));
  const device = await e2ee.Device.generate(bob, address);
  const bundle = (await device.publishBundle({ oneTime: 0 })).bundle(null);
  await e2ee.processPrekeyBundle(alice, address, bundle);
  for (const wrong of ["text", [1, 2], null, undefined, 7, new Uint16Array(2)]) {
    await assert.rejects(() => e2ee.encrypt(alice, address, wrong), e2ee.InvalidMessage);
    await assert.rejects(() => e2ee.decrypt(alice, address, wrong), e2ee.InvalidMessage);
    await assert.rejects(() => e2ee.Attachment.encrypt(wrong), e2ee.InvalidMessage);
  }
  await assert.rejects(() => e2ee.Device.generate(new e2ee.MemoryStore(), address, { suites: [3] }), RangeError);
  assert.equal((await e2ee.encrypt(alice, address, new Uint8Array(3))).length, 1381);
});

test("a fan-out is one transaction for all or none", async () => {
  const e2ee = await import("../../../mana_e2ee/static/mana_e2ee/e2ee.js");
  const stores = ["alice", "bob", "carol"].map(() => new e2ee.MemoryStore());
  const addresses = ["alice", "bob", "carol"].map((user) => new e2ee.Address(user, "phone"));
  const devices = await Promise.all(stores.map((store, index) => e2ee.Device.generate(store, addresses[index])));
  const start = async (index) => {
    const bundle = (await devices[index].publishBundle({ oneTime: 0 })).bundle(null);
    await e2ee.processPrekeyBundle(stores[0], addresses[index], bundle);
  };
  await start(1);
  const plaintext = Uint8Array.of(1, 2, 3);
  await assert.rejects(() => e2ee.encryptMany(stores[0], addresses.slice(1), plaintext), e2ee.NoSession);
  await start(2);
  const messages = await e2ee.encryptMany(stores[0], addresses.slice(1), plaintext);
  assert.equal(messages.length, 2);
  for (const [index, message] of messages.entries()) {
    assert.deepEqual(message.slice(54, 58), new Uint8Array(4), "the failed fan-out used no key");
    assert.deepEqual((await e2ee.decrypt(stores[index + 1], addresses[0], message)).plaintext, plaintext);
  }
});
