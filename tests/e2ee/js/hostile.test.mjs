// node --test tests/e2ee/js
import assert from "node:assert/strict";
import test from "node:test";

import { checks, talking } from "./hostile.mjs";

for (const [name, check] of Object.entries(checks)) test(name, check);

test("a Buffer is copied, though its slice is not a copy", async () => {
  const [alice, bob] = await talking([1]);
  const e2ee = await import("../../../mana_e2ee/static/mana_e2ee/e2ee.js");
  const messages = [await alice.send(bob, "one"), await alice.send(bob, "two")];
  const pool = Buffer.alloc(4_096);
  for (const message of messages) {
    pool.set(message);
    const { plaintext } = await bob.read(alice, pool.subarray(0, message.length));
    assert.equal(Buffer.from(plaintext).toString(), message === messages[0] ? "one" : "two");
    pool.fill(0xff);
  }
  const bundle = e2ee.PreKeyBundle.fromBytes(Buffer.from(bob.claim().toBytes()));
  assert.equal(bundle.signedPrekey.publicKey.constructor, Uint8Array);
});

test("a store that tabs share is not opened where there are no locks", async () => {
  const { IndexedDBStore } = await import("../../../mana_e2ee/static/mana_e2ee/stores.js");
  const locks = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
  try {
    await assert.rejects(() => IndexedDBStore.open("x"), /navigator\.locks/);
  } finally {
    if (locks) Object.defineProperty(globalThis, "navigator", locks);
    else delete globalThis.navigator;
  }
});
