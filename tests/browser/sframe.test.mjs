// Encrypted frames of media, as mana_rtc/sframe.js makes and opens them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameOpener, FrameSealer, frameKey } from "../../mana_rtc/static/mana_rtc/sframe.js";

const raw = (value) => new Uint8Array(32).fill(value);
const frame = (length = 100) => Uint8Array.from({ length }, (_, at) => at & 255).buffer;

async function pair(value = 7, id = 3) {
  const [sealer, opener] = [new FrameSealer(), new FrameOpener()];
  sealer.setKey(id, await frameKey(raw(value)));
  opener.setKey("ann", id, await frameKey(raw(value)));
  return { sealer, opener };
}

test("what is sealed is opened again, and its first bytes stay readable", async () => {
  const { sealer, opener } = await pair();
  for (const [kind, isKeyFrame, readable] of [["video", true, 10], ["video", false, 3], ["audio", false, 1]]) {
    const sealed = await sealer.seal(frame(), kind, isKeyFrame);
    assert.equal(sealed.byteLength, 100 + 16 + 8);
    assert.deepEqual(sealed.slice(0, readable), frame().slice(0, readable));
    assert.notDeepEqual(sealed.slice(readable, 100), frame().slice(readable));
    assert.deepEqual(await opener.open("ann", sealed), frame());
  }
  assert.deepEqual(await opener.open("ann", await sealer.seal(new ArrayBuffer(0), "audio", false)), new ArrayBuffer(0));
});

test("a frame that was changed anywhere, that came before, or is somebody else's is not opened", async () => {
  const { sealer, opener } = await pair();
  const sealed = await sealer.seal(frame(40), "video", true);
  for (let at = 0; at < sealed.byteLength; at += 1) {
    const changed = new Uint8Array(sealed.slice(0));
    changed[at] ^= 1;
    assert.equal(await opener.open("ann", changed.buffer), null, `byte ${at}`);
  }
  assert.equal(await opener.open("ben", sealed), null);
  assert.equal(await opener.open("ann", sealed.slice(1)), null);
  assert.equal(await opener.open("ann", new ArrayBuffer(5)), null);
  assert.deepEqual(await opener.open("ann", sealed), frame(40));
  assert.equal(await opener.open("ann", sealed), null);
});

test("no counter is used twice, and frames may come out of order, but not from long ago", async () => {
  const { sealer, opener } = await pair();
  const many = await Promise.all(Array.from({ length: 600 }, () => sealer.seal(frame(20), "audio", false)));
  assert.equal(new Set(many.map((one) => Buffer.from(one).subarray(-8).toString("hex"))).size, 600);
  assert.deepEqual(await opener.open("ann", many[599]), frame(20));
  assert.deepEqual(await opener.open("ann", many[400]), frame(20));
  assert.equal(await opener.open("ann", many[0]), null);
});

test("nothing goes out without a key, and the keys before are kept for what is under way", async () => {
  assert.equal(await new FrameSealer().seal(frame(), "video", true), null);
  const { sealer, opener } = await pair(1, 255);
  const before = await sealer.seal(frame(), "video", false);
  sealer.setKey(0, await frameKey(raw(2)));
  const after = await sealer.seal(frame(), "video", false);
  assert.equal(await opener.open("ann", after), null);
  opener.setKey("ann", 0, await frameKey(raw(2)));
  assert.deepEqual(await opener.open("ann", after), frame());
  assert.deepEqual(await opener.open("ann", before), frame());
  opener.forget("ann");
  assert.equal(await opener.open("ann", await sealer.seal(frame(), "video", false)), null);
});
