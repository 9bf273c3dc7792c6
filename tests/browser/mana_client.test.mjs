// Behaviour of mana.js against a fake server and a fake clock: node --test tests/browser/
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { FakeStorage, ackOf, message, setUp, settle, welcome } from "./fakes.mjs";

const jwt = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;

describe("connecting", () => {
  test("offers mana.v1 and a device id that stays", async () => {
    const storage = new FakeStorage();
    const first = setUp({ storage });
    await first.goOnline();
    const second = setUp({ storage });
    await second.goOnline();
    assert.deepEqual(first.server.socket.protocols, ["mana.v1"]);
    const id = first.server.socket.url.searchParams.get("device_id");
    assert.match(id, /^[0-9a-f-]{36}$/);
    assert.equal(second.server.socket.url.searchParams.get("device_id"), id);
  });

  test("goes through connecting and syncing to online", async () => {
    const { states, goOnline } = setUp();
    await goOnline();
    assert.deepEqual(states, ["connecting", "syncing", "online"]);
  });

  test("offers a token as a subprotocol and never in the address", async () => {
    const { client, server } = setUp({ token: "a.b.c" });
    client.connect();
    await settle();
    assert.deepEqual(server.socket.protocols, ["mana.v1", "bearer.a.b.c"]);
    assert.ok(!server.socket.url.href.includes("a.b.c"));
  });

  test("fetches a new ticket for every attempt", async () => {
    let tickets = 0;
    const { client, server, clock } = setUp({ ticket: async () => `t${(tickets += 1)}` });
    client.connect();
    await settle();
    server.socket.drop();
    await clock.pass(500);
    assert.deepEqual(
      server.sockets.map((socket) => socket.url.searchParams.get("ticket")),
      ["t1", "t2"],
    );
  });

  test("does not go on as somebody else", async () => {
    const { client, server, seen } = setUp({ userId: "1" });
    client.send({ room_id: "r", payload: "for user 1 only" });
    client.connect();
    await settle();
    server.socket.deliver(welcome({ user_id: "9" }));
    assert.equal(client.state, "unauthenticated");
    assert.deepEqual(server.socket.sent, []);
    assert.equal(seen[0].event, "unauthenticated");
  });

  test("works where storage is refused", async () => {
    const refuse = () => {
      throw new DOMException("denied", "SecurityError");
    };
    const { client, server, goOnline } = setUp({
      storage: { getItem: refuse, setItem: refuse, removeItem: refuse, key: refuse, length: 1 },
    });
    await goOnline();
    client.send({ room_id: "r", payload: "hello" });
    assert.equal(server.socket.last("message").payload, "hello");
  });
});

describe("reconnecting", () => {
  test("waits twice as long each time, up to 30 seconds", async () => {
    const { client, server, clock } = setUp();
    client.connect();
    const waits = [];
    for (let i = 0; i < 9; i += 1) {
      await settle();
      server.socket.drop();
      const wait = client.stateDetail.retryAt - clock.now();
      waits.push(wait);
      await clock.pass(wait);
    }
    assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  });

  test("jitters the wait between half and all of it", async () => {
    const { client, server, clock } = setUp({ random: () => 0 });
    client.connect();
    await settle();
    server.socket.drop();
    assert.equal(client.stateDetail.retryAt - clock.now(), 250);
  });

  test("begins anew after a stable connection only", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    server.socket.drop();
    assert.equal(client.stateDetail.retryAt - clock.now(), 500);
    await clock.pass(500);
    await goOnline();
    server.socket.drop();
    assert.equal(client.stateDetail.retryAt - clock.now(), 1000);
    await clock.pass(1000);
    await goOnline();
    await clock.pass(6000);
    server.socket.drop();
    assert.equal(client.stateDetail.retryAt - clock.now(), 500);
  });

  test("comes back when the server said, not earlier, even if the page asks", async () => {
    const { client, server, clock, window, goOnline } = setUp();
    await goOnline();
    server.socket.deliver({ type: "error", code: "going_away", error: "restart", retry_after: 7 });
    server.socket.drop(1012);
    assert.equal(client.stateDetail.retryAt - clock.now(), 7000);
    window.dispatchEvent(new Event("online"));
    await clock.pass(6999);
    assert.equal(server.sockets.length, 1);
    await clock.pass(1);
    assert.equal(server.sockets.length, 2);
  });

  test("comes back at once when the network or the page does", async () => {
    for (const [target, type] of [
      ["window", "online"],
      ["document", "visibilitychange"],
    ]) {
      const world = setUp();
      world.client.connect();
      for (let i = 0; i < 6; i += 1) {
        await settle();
        world.server.socket.drop();
        if (i < 5) await world.clock.pass(20_000);
      }
      await world.clock.pass(1_000);
      assert.equal(world.client.state, "offline");
      world[target].dispatchEvent(new Event(type));
      assert.equal(world.client.state, "connecting");
    }
  });

  test("stops at 4003 and 4009, and says why", async () => {
    for (const code of [4003, 4009]) {
      const { client, server, clock, goOnline } = setUp();
      await goOnline();
      server.socket.deliver({ type: "error", code: "revoked", error: "Signed out." });
      server.socket.drop(code);
      await clock.pass(120_000);
      assert.equal(server.sockets.length, 1);
      assert.equal(client.stateDetail.state, "closed");
      assert.equal(client.stateDetail.code, code);
      assert.equal(client.stateDetail.reason, "Signed out.");
    }
  });

  test("goes on after 4008, 4029, 1009, 1012 and 1006", async () => {
    for (const code of [4008, 4029, 1009, 1012, 1006]) {
      const { server, clock, goOnline } = setUp();
      await goOnline();
      server.socket.drop(code);
      await clock.pass(1000);
      assert.equal(server.sockets.length, 2, String(code));
    }
  });

  test("stops at 4001 with a cookie, and can connect again after signing in", async () => {
    const { client, server, clock, seen, goOnline } = setUp();
    await goOnline();
    server.socket.drop(4001);
    await clock.pass(120_000);
    assert.equal(client.state, "unauthenticated");
    assert.equal(seen.at(-1).event, "unauthenticated");
    client.connect();
    await settle();
    assert.equal(server.sockets.length, 2);
  });

  test("tries a fresh token once after 4001", async () => {
    const asked = [];
    const { client, server, clock } = setUp({ token: async ({ fresh }) => (asked.push(fresh), `t${asked.length}`) });
    client.connect();
    await settle();
    server.socket.drop(4001);
    await settle();
    assert.deepEqual(asked, [false, true]);
    assert.equal(server.socket.protocols[1], "bearer.t2");
    server.socket.drop(4001);
    await clock.pass(60_000);
    assert.equal(client.state, "unauthenticated");
    assert.equal(server.sockets.length, 2);
  });

  test("renews the token on the open socket before it expires", async () => {
    const world = setUp({ token: async ({ fresh }) => (fresh ? "new" : soon) });
    const now = world.clock.now() / 1000;
    const soon = jwt({ iat: now, exp: now + 300 });
    await world.goOnline();
    for (let minute = 1; minute < 12; minute += 1) {
      await world.clock.pass(20_000);
      world.server.socket.deliver({ type: "pong" });
    }
    await world.clock.pass(19_000);
    assert.equal(world.server.socket.last("auth"), undefined);
    await world.clock.pass(2_000);
    assert.deepEqual(world.server.socket.last("auth"), { type: "auth", token: "new" });
    assert.equal(world.server.sockets.length, 1);
  });

  test("notices a silent connection and leaves it", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    await clock.pass(26_000);
    assert.equal(server.socket.of("ping").length, 1);
    await clock.pass(10_000);
    assert.equal(server.sockets[0].closedByClient, true);
    assert.notEqual(client.state, "online");
    assert.equal(server.sockets.length, 2);
  });

  test("keeps a connection that answers", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    for (let i = 0; i < 10; i += 1) {
      await clock.pass(26_000);
      server.socket.deliver({ type: "pong" });
    }
    assert.equal(client.state, "online");
    assert.equal(server.sockets.length, 1);
  });

  test("gives up on a socket that is never welcomed", async () => {
    const { client, server, clock } = setUp();
    client.connect();
    await clock.pass(15_000);
    assert.equal(client.state, "offline");
    assert.equal(server.socket.closedByClient, true);
  });

  test("ignores what an abandoned socket still says", async () => {
    const { server, clock, goOnline, sequences } = setUp();
    await goOnline();
    const old = server.socket;
    const late = old.onmessage;
    old.drop();
    await clock.pass(500);
    await goOnline();
    late({ data: JSON.stringify(message(1)) });
    assert.deepEqual(sequences(), []);
  });

  test("disconnect() ends it for good", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    client.disconnect();
    await clock.pass(60_000);
    assert.equal(client.state, "closed");
    assert.equal(server.sockets.length, 1);
  });
});

describe("messages on their way", () => {
  test("an ack resolves the promise", async () => {
    const { client, server, goOnline } = setUp();
    await goOnline();
    const sent = client.send({ room_id: "r", payload: { text: "hi" } });
    assert.equal(sent.status, "sending");
    const frame = server.socket.last("message");
    assert.deepEqual(
      { ...frame, ack_id: "x" },
      { type: "message", room_id: "r", payload: { text: "hi" }, ack_id: "x" },
    );
    server.socket.deliver(ackOf(frame, 5));
    assert.equal((await sent.acked).sequence, 5);
    assert.equal(sent.status, "sent");
    assert.deepEqual(client.outgoing, []);
  });

  test("an unacked message is sent again with the same ack_id after a reconnect", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    client.send({ room_id: "r", payload: "one" });
    client.send({ room_id: "r", payload: "two" });
    const before = server.socket.of("message");
    server.socket.drop();
    await clock.pass(500);
    await goOnline();
    assert.deepEqual(server.socket.of("message"), before);
  });

  test("messages written offline wait, in order", async () => {
    const { client, server, goOnline } = setUp();
    for (const payload of ["one", "two", "three"]) client.send({ room_id: "r", payload });
    await goOnline();
    assert.deepEqual(
      server.socket.of("message").map((frame) => frame.payload),
      ["one", "two", "three"],
    );
  });

  test("what was written before a chat was encrypted does not go there in the clear", async () => {
    const { client, server, goOnline } = setUp();
    const encrypted = new Set();
    client.use({ allows: ({ room_id }) => !encrypted.has(room_id), covers: () => false });
    const [kept, plain] = ["a", "b"].map((room_id) => client.send({ room_id, payload: `to ${room_id}` }));
    encrypted.add("a");
    await goOnline();
    assert.deepEqual(
      server.socket.of("message").map((frame) => frame.payload),
      ["to b"],
    );
    assert.deepEqual([kept.status, kept.error.code, plain.status], ["failed", "not_encrypted", "sending"]);
    client.retry(kept.ack_id);
    assert.equal(kept.status, "failed");
    assert.throws(() => client.send({ room_id: "a", payload: "again" }), { code: "not_encrypted" });
  });

  test("no more are under way than the server allows", async () => {
    const { client, server, goOnline } = setUp();
    await goOnline({ limits: { max_in_flight: 2 } });
    for (const payload of ["one", "two", "three"]) client.send({ room_id: "r", payload });
    assert.equal(server.socket.of("message").length, 2);
    server.socket.deliver(
      ackOf(
        server.socket.sent.find((frame) => frame.payload === "one"),
        1,
      ),
    );
    assert.equal(server.socket.of("message").length, 3);
  });

  test("an unacked message survives a reload", async () => {
    const storage = new FakeStorage();
    const before = setUp({ storage });
    await before.goOnline();
    const { ack_id } = before.client.send({ room_id: "r", payload: { text: "kept" } });
    const after = setUp({ storage, userId: "1" });
    assert.deepEqual(
      after.client.outgoing.map((outgoing) => outgoing.payload),
      [{ text: "kept" }],
    );
    await after.goOnline();
    assert.equal(after.server.socket.last("message").ack_id, ack_id);
    after.server.socket.deliver(ackOf({ ack_id }, 1));
    assert.deepEqual(storage.keys("outbox"), []);
  });

  test("what one user has not sent is not sent by another", async () => {
    const storage = new FakeStorage();
    const anna = setUp({ storage });
    await anna.goOnline({ user_id: "1" });
    anna.client.send({ room_id: "r", payload: "private" });
    const bob = setUp({ storage });
    await bob.goOnline({ user_id: "2" });
    assert.deepEqual(bob.server.socket.of("message"), []);
  });

  test("a message that no ack answers is sent again on the same connection", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    client.send({ room_id: "r", payload: "hi" });
    await clock.pass(19_000);
    server.socket.deliver({ type: "pong" });
    await clock.pass(1_000);
    const [first, second] = server.socket.of("message");
    assert.deepEqual(first, second);
  });

  test("rate_limited waits as long as the server says, then tries again by itself", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    const sent = client.send({ room_id: "r", payload: "hi" });
    server.socket.deliver({
      type: "error",
      code: "rate_limited",
      error: "slow down",
      ack_id: sent.ack_id,
      retry_after: 3,
    });
    client.send({ room_id: "r", payload: "next" });
    await clock.pass(2_900);
    assert.equal(server.socket.of("message").length, 1);
    await clock.pass(100);
    assert.deepEqual(
      server.socket.of("message").map((frame) => frame.payload),
      ["hi", "hi", "next"],
    );
  });

  test("a refusal fails the message, and retry() sends the same one", async () => {
    const { client, server, goOnline, storage } = setUp();
    await goOnline();
    const sent = client.send({ room_id: "r", payload: "hi" });
    server.socket.deliver({ type: "error", code: "not_a_member", error: "no", ack_id: sent.ack_id });
    await assert.rejects(sent.acked, { code: "not_a_member" });
    assert.equal(sent.status, "failed");
    const reloaded = setUp({ storage, userId: "1" });
    assert.equal(reloaded.client.outgoing[0].status, "failed");
    client.retry(sent.ack_id);
    assert.equal(server.socket.last("message").ack_id, sent.ack_id);
    server.socket.deliver(ackOf(sent, 1));
    assert.equal((await sent.acked).sequence, 1);
  });

  test("a failed message can be discarded", async () => {
    const { client, server, goOnline, storage } = setUp();
    await goOnline();
    const sent = client.send({ room_id: "r", payload: "hi" });
    server.socket.deliver({ type: "error", code: "forbidden", error: "no", ack_id: sent.ack_id });
    client.discard(sent.ack_id);
    assert.deepEqual(client.outgoing, []);
    assert.deepEqual(storage.keys("outbox"), []);
  });

  test("a message that is too big is refused here, since the server would close", async () => {
    const { client, goOnline } = setUp();
    await goOnline();
    assert.throws(() => client.send({ room_id: "r", payload: "ü".repeat(33_000) }), { code: "too_large" });
    assert.deepEqual(client.outgoing, []);
  });

  test("its own message coming back by sync counts as the ack", async () => {
    const { client, server, clock, answerSync, goOnline, sequences } = setUp();
    await goOnline();
    const sent = client.send({ room_id: "r", payload: "hi" });
    server.socket.drop();
    await clock.pass(500);
    server.socket.deliver(welcome({ latest_sequence: 1 }));
    answerSync({ messages: [message(1, { from: "1", ack_id: sent.ack_id })] });
    assert.equal((await sent.acked).message_id, "m1");
    await settle();
    assert.deepEqual(sequences(), []);
  });
});

describe("two tabs", () => {
  test("one takes over what the other has left behind", async () => {
    const storage = new FakeStorage();
    const stays = setUp({ storage });
    await stays.goOnline();
    const closed = setUp({ storage, userId: "1", clock: stays.clock });
    const { ack_id } = closed.client.send({ room_id: "r", payload: "left behind" });
    await stays.clock.pass(26_000);
    stays.server.socket.deliver({ type: "pong" });
    assert.equal(stays.server.socket.of("message").length, 0);
    await stays.clock.pass(25_000);
    assert.equal(stays.server.socket.last("message").ack_id, ack_id);
  });

  test("one drops what the other has sent", async () => {
    const storage = new FakeStorage();
    const writer = setUp({ storage, userId: "1" });
    const { ack_id } = writer.client.send({ room_id: "r", payload: "hi" });
    const other = setUp({ storage, userId: "1" });
    other.client.connect();
    const key = storage.keys("outbox")[0];
    other.window.dispatchEvent(Object.assign(new Event("storage"), { key, newValue: null }));
    assert.ok(key.endsWith(ack_id));
    assert.deepEqual(other.client.outgoing, []);
  });

  test("a slow one keeps its own cursor", async () => {
    const storage = new FakeStorage();
    const slow = setUp({ storage });
    await slow.goOnline();
    const fast = setUp({ storage });
    await fast.goOnline();
    fast.server.socket.deliver(message(1), message(2));
    await fast.clock.pass(1000);
    assert.equal(storage.getItem("mana:1:cursor"), "2");
    slow.server.socket.drop();
    await slow.clock.pass(500);
    slow.server.socket.deliver(welcome({ latest_sequence: 2 }));
    assert.equal(slow.server.socket.last("sync_request").cursor, 0);
  });

  test("a slow one does not take the device's cursor back", async () => {
    const storage = new FakeStorage();
    const slow = setUp({ storage });
    await slow.goOnline();
    const fast = setUp({ storage });
    await fast.goOnline();
    fast.server.socket.deliver(message(1), message(2));
    await fast.clock.pass(1000);
    slow.server.socket.deliver(message(1));
    await slow.clock.pass(1000);
    assert.equal(storage.getItem("mana:1:cursor"), "2");
  });
});

describe("the cursor", () => {
  test("a new device begins at the latest sequence", async () => {
    const { client, server, goOnline } = setUp();
    let fresh;
    client.on("welcome", (frame) => (fresh = frame.fresh));
    await goOnline({ latest_sequence: 40 });
    assert.equal(fresh, true);
    assert.equal(server.socket.last("sync_request").cursor, 40);
  });

  test("the page may say where its own knowledge ends", async () => {
    const { server, goOnline } = setUp();
    await goOnline({ latest_sequence: 40 }, 33);
    assert.equal(server.socket.last("sync_request").cursor, 33);
  });

  test("a known device goes on where it stopped", async () => {
    const storage = new FakeStorage();
    const before = setUp({ storage });
    await before.goOnline({ latest_sequence: 4 });
    before.server.socket.deliver(message(5));
    await before.clock.pass(1000);
    const after = setUp({ storage });
    await after.goOnline({ latest_sequence: 9 });
    assert.equal(after.server.socket.last("sync_request").cursor, 5);
  });

  test("an ack does not move it", async () => {
    const { client, server, goOnline } = setUp();
    await goOnline({ latest_sequence: 4 });
    const sent = client.send({ room_id: "r", payload: "hi" });
    server.socket.deliver(ackOf(sent, 6));
    assert.equal(client.cursor, 4);
    server.socket.deliver(message(5));
    assert.equal(client.cursor, 5);
  });

  test("a sync asks until there is no more", async () => {
    const { client, server, answerSync, sequences } = setUp();
    client.connect({ cursor: 0 });
    await settle();
    server.socket.deliver(welcome({ latest_sequence: 4 }));
    answerSync({ messages: [message(1), message(2)], has_more: true });
    await settle();
    assert.equal(client.state, "syncing");
    assert.equal(server.socket.last("sync_request").cursor, 2);
    answerSync({ messages: [message(3), message(4)] });
    await settle();
    assert.equal(client.state, "online");
    assert.deepEqual(sequences(), [1, 2, 3, 4]);
  });

  test("the cursor of a batch counts even when its events were not for us", async () => {
    const { client, server, answerSync } = setUp();
    client.connect({ cursor: 0 });
    await settle();
    server.socket.deliver(welcome({ latest_sequence: 90 }));
    answerSync({ cursor: 90 });
    await settle();
    assert.equal(client.cursor, 90);
  });

  test("live events wait for the sync and come after it, once", async () => {
    const { client, server, answerSync, sequences } = setUp();
    client.connect({ cursor: 0 });
    await settle();
    server.socket.deliver(welcome({ latest_sequence: 2 }), message(3));
    assert.deepEqual(sequences(), []);
    assert.equal(client.cursor, 0);
    answerSync({ messages: [message(1), message(2), message(3)] });
    await settle();
    assert.deepEqual(sequences(), [1, 2, 3]);
  });

  test("a sync that is lost on the way is asked for again", async () => {
    const { client, server, clock, answerSync } = setUp();
    client.connect({ cursor: 3 });
    await settle();
    server.socket.deliver(welcome({ latest_sequence: 4 }));
    await clock.pass(16_000);
    assert.equal(server.socket.of("sync_request").length, 2);
    answerSync({ cursor: 4 });
    await settle();
    assert.equal(client.state, "online");
  });

  test("a connection lost during a sync is followed by a sync from where it got to", async () => {
    const { client, server, clock, answerSync, sequences } = setUp();
    client.connect({ cursor: 0 });
    await settle();
    server.socket.deliver(welcome({ latest_sequence: 4 }));
    answerSync({ messages: [message(1), message(2)], has_more: true });
    await settle();
    server.socket.drop();
    await clock.pass(500);
    server.socket.deliver(welcome({ latest_sequence: 4 }));
    await settle();
    assert.equal(server.socket.of("sync_request").length, 1);
    assert.equal(server.socket.last("sync_request").cursor, 2);
    answerSync({ messages: [message(3), message(4)] });
    await settle();
    assert.deepEqual(sequences(), [1, 2, 3, 4]);
    assert.equal(client.state, "online");
  });

  test("a server that lost its history is noticed", async () => {
    const storage = new FakeStorage();
    storage.setItem("mana:1:cursor", "500");
    const { client, server, seen, goOnline, sequences } = setUp({ storage });
    await goOnline({ latest_sequence: 3 });
    assert.equal(seen[0].event, "reset");
    server.socket.deliver(message(4));
    assert.deepEqual(sequences(), [4]);
    assert.equal(client.cursor, 4);
  });

  test("a refused sync says that the state must be loaded anew", async () => {
    const { client, server, seen } = setUp();
    client.connect({ cursor: 0 });
    await settle();
    server.socket.deliver(welcome({ latest_sequence: 4 }));
    const { ack_id } = server.socket.last("sync_request");
    server.socket.deliver({ type: "error", code: "forbidden", error: "no", ack_id });
    await settle();
    assert.ok(seen.some((event) => event.event === "reset"));
    assert.equal(client.state, "online");
  });
});

describe("events", () => {
  test("an array of frames is handled in order", async () => {
    const { server, goOnline, sequences } = setUp();
    await goOnline();
    server.socket.deliver(message(1), message(2), message(3));
    assert.deepEqual(sequences(), [1, 2, 3]);
  });

  test("each comes once", async () => {
    const { server, clock, goOnline, answerSync, sequences } = setUp();
    await goOnline();
    server.socket.deliver(message(1), message(2));
    server.socket.deliver(message(2));
    server.socket.drop();
    await clock.pass(500);
    server.socket.deliver(welcome({ latest_sequence: 3 }));
    answerSync({ messages: [message(2), message(3)] });
    await settle();
    assert.deepEqual(sequences(), [1, 2, 3]);
  });

  test("an acked message of ours does not come back by sync", async () => {
    const { client, server, clock, goOnline, answerSync, sequences } = setUp();
    await goOnline();
    const sent = client.send({ room_id: "r", payload: "hi" });
    server.socket.deliver(ackOf(sent, 1));
    server.socket.drop();
    await clock.pass(500);
    server.socket.deliver(welcome({ latest_sequence: 1 }));
    answerSync({ messages: [message(1, { from: "1" })] });
    await settle();
    assert.deepEqual(sequences(), []);
    assert.equal(client.cursor, 1);
  });

  test("a message sent from another device of ours is told", async () => {
    const { server, goOnline, sequences } = setUp();
    await goOnline();
    server.socket.deliver(message(1, { from: "1", ack_id: "of-my-phone" }));
    assert.deepEqual(sequences(), [1]);
  });

  test("one that overtook our own ack waits for it", async () => {
    const { client, server, goOnline, sequences } = setUp();
    await goOnline();
    server.socket.deliver(message(1));
    const sent = client.send({ room_id: "r", payload: "hi" });
    server.socket.deliver(message(3));
    assert.deepEqual(sequences(), [1]);
    server.socket.deliver(ackOf(sent, 2));
    assert.deepEqual(sequences(), [1, 3]);
  });

  test("a hole in a room is filled from its history before anything goes on", async () => {
    const { server, clock, goOnline, sequences } = setUp();
    await goOnline();
    server.socket.deliver(message(1), message(4), message(5, { room_id: "other", index: 1 }));
    assert.deepEqual(sequences(), [1]);
    await clock.pass(500);
    const asked = server.socket.last("history");
    assert.deepEqual([asked.room_id, asked.after], ["r", 1]);
    server.socket.deliver({
      type: "history",
      room_id: "r",
      ack_id: asked.ack_id,
      messages: [message(2), message(3), message(4)],
      has_more: false,
    });
    await settle();
    assert.deepEqual(sequences(), [1, 2, 3, 4, 5]);
  });

  test("a hole that nothing fills holds nobody up", async () => {
    const { server, clock, goOnline, sequences } = setUp();
    await goOnline();
    server.socket.deliver(message(1), message(4));
    await clock.pass(500);
    const { ack_id } = server.socket.last("history");
    server.socket.deliver({ type: "error", code: "forbidden", error: "no", ack_id });
    await settle();
    assert.deepEqual(sequences(), [1, 4]);
  });

  test("what is not JSON is an error and nothing more", async () => {
    const { client, server, seen, goOnline } = setUp();
    await goOnline();
    server.socket.onmessage({ data: "<html>" });
    server.socket.onmessage({ data: "[null, 3]" });
    assert.equal(seen.at(-1).code, "bad_frame");
    assert.equal(client.state, "online");
  });

  test("frames of types unknown here are handed on", async () => {
    const { client, server, goOnline } = setUp();
    await goOnline();
    const calls = [];
    client.on("call_start", (frame) => calls.push(frame.call_id));
    server.socket.deliver({ type: "call_start", call_id: "c1" });
    assert.deepEqual(calls, ["c1"]);
  });
});

describe("requests", () => {
  test("an answer is found by its ack_id", async () => {
    const { client, server, goOnline } = setUp();
    await goOnline();
    const [one, two] = [client.join("a"), client.join("b")];
    const [first, second] = server.socket.of("join");
    server.socket.deliver({ type: "ack", ack_id: second.ack_id, room_id: "b", sequence: 2, index: 1 });
    server.socket.deliver({ type: "error", code: "forbidden", error: "no", ack_id: first.ack_id });
    assert.equal((await two).room_id, "b");
    await assert.rejects(one, { code: "forbidden" });
  });

  test("they fail when nobody answers, when the connection is lost, and without one", async () => {
    const { client, server, clock, goOnline } = setUp();
    await assert.rejects(client.history("r"), { code: "offline" });
    await goOnline();
    const timedOut = assert.rejects(client.history("r"), { code: "timeout" });
    await clock.pass(15_000);
    await timedOut;
    const lost = assert.rejects(client.history("r"), { code: "disconnected" });
    server.socket.drop();
    await lost;
  });
});

describe("receipts and typing", () => {
  test("receipts of a room become one, and read covers delivered", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    server.socket.deliver(message(1), message(2), message(3, { room_id: "other", index: 1 }));
    client.markRead("r", 2);
    await clock.pass(300);
    const sent = server.socket.of("receipt").map(({ room_id, sequence, status }) => [room_id, sequence, status]);
    assert.deepEqual(sent, [
      ["r", 2, "read"],
      ["other", 3, "delivered"],
    ]);
  });

  test("a receipt that was not acknowledged is sent again, one that was is not", async () => {
    const { server, clock, goOnline } = setUp();
    await goOnline();
    server.socket.deliver(message(1), message(2, { room_id: "other", index: 1 }));
    await clock.pass(300);
    server.socket.deliver({ type: "ack", ack_id: server.socket.of("receipt")[0].ack_id });
    await settle();
    server.socket.drop();
    await clock.pass(500);
    await goOnline({ latest_sequence: 2 });
    assert.deepEqual(
      server.socket.of("receipt").map((frame) => frame.room_id),
      ["other"],
    );
  });

  test("typing is sent at most every three seconds and ends by itself", async () => {
    const { client, server, clock, goOnline } = setUp();
    await goOnline();
    for (let i = 0; i < 8; i += 1) {
      client.typing("r");
      await clock.pass(500);
    }
    assert.deepEqual(
      server.socket.of("typing").map((frame) => frame.payload),
      [true, true],
    );
    await clock.pass(6_000);
    assert.equal(server.socket.last("typing").payload, false);
  });

  test("typing of others ends when they fall silent or a message comes", async () => {
    const { server, clock, seen, goOnline } = setUp();
    const active = () => seen.filter((event) => event.event === "typing").map((event) => event.active);
    await goOnline();
    server.socket.deliver({ type: "typing", room_id: "r", from: "2", username: "bob" });
    await clock.pass(6_000);
    assert.deepEqual(active(), [true, false]);
    server.socket.deliver({ type: "typing", room_id: "r", from: "2", username: "bob", payload: true });
    server.socket.deliver(message(1));
    await clock.pass(10_000);
    assert.deepEqual(active(), [true, false, true, false]);
  });
});

describe("REST", () => {
  const answering = (status, body) => {
    const calls = [];
    const fetch = async (url, options) => {
      calls.push({ url, ...options });
      return new Response(body === undefined ? null : JSON.stringify(body), { status });
    };
    return { calls, fetch };
  };

  test("unsafe methods carry the CSRF token", async () => {
    const { calls, fetch } = answering(200, {});
    const { client } = setUp({ fetch, csrf: () => "secret" });
    await client.rest.get("rooms", { limit: 5, before: undefined });
    await client.rest.post("rooms", { name: "x" });
    assert.equal(calls[0].url, "http://test/api/rooms?limit=5");
    assert.equal(calls[0].headers["X-CSRFToken"], undefined);
    assert.equal(calls[1].headers["X-CSRFToken"], "secret");
    assert.equal(calls[1].body, '{"name":"x"}');
  });

  test("a token is a bearer and is renewed once", async () => {
    const { calls, fetch } = answering(401, { code: "token_expired", detail: "expired" });
    const { client } = setUp({ fetch, token: ({ fresh }) => (fresh ? "new" : "old") });
    await assert.rejects(client.rest.get("me"), { code: "token_expired", status: 401 });
    assert.deepEqual(
      calls.map((call) => call.headers.Authorization),
      ["Bearer old", "Bearer new"],
    );
  });

  test("errors have the server's code and text, or one of ours", async () => {
    const refused = setUp(answering(403, { code: "forbidden", detail: "Not yours." }));
    await assert.rejects(refused.client.rest.delete("rooms/1"), { code: "forbidden", message: "Not yours." });
    const unreachable = setUp({ fetch: async () => Promise.reject(new TypeError("failed to fetch")) });
    await assert.rejects(unreachable.client.rest.get("me"), { code: "network" });
    const empty = setUp(answering(204));
    assert.equal(await empty.client.rest.delete("rooms/1"), null);
  });
});
