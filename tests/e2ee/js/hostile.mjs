// Everything of the JavaScript core that reads bytes from outside, given anything: the typed error, no change, bounded
// work. In Node (hostile.test.mjs) and in browsers: each of `checks` throws at the first fault. The twin of
// test_hostile_input.py.

const BASE = "../../../mana_e2ee/static/mana_e2ee/";
const load = (name) => import(`${BASE}${name}.js`);
const [e2ee, encoding, envelope, keys, { sign }, tables] = await Promise.all(
  ["e2ee", "encoding", "envelope", "keys", "primitives", "tables"].map(load),
);
const { concat, hex, u32 } = encoding;
export const NOW = 1_800_000_000;
const DAY = 86_400;
const HOUR = 3_600;
const RECOVERY = new e2ee.RecoveryKey(Uint8Array.from({ length: 32 }, (_, index) => index));

let clock = NOW;
/** A moment far enough after the last that the throttle never answers first. */
const later = () => (clock += 4_000);

function ensure(condition, what) {
  if (!condition) throw new Error(what);
}

/** Random numbers that are the same in every run (mulberry32). */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const plain = (value) => {
  if (value instanceof Uint8Array) return hex(value);
  if (value instanceof CryptoKey) return `${value.algorithm.name} ${value.type}`;
  if (value instanceof Map) return [...value].map(([key, each]) => [key, plain(each)]);
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  return value;
};

/** Everything that a store holds, as text; of CryptoKeys only that they are there. */
export const contents = (store) =>
  store.transaction(async (tx) => {
    const rows = [];
    for (const [name, table] of Object.entries(tables)) {
      if (/^[A-Z_]+$/.test(name)) rows.push([table, plain(await tx.scan(table))]);
    }
    return JSON.stringify(rows);
  });

/** The code of the E2EEError that `work` ends with; any other end is a fault. */
export async function refused(work, what) {
  try {
    await work();
  } catch (error) {
    ensure(error instanceof e2ee.E2EEError, `${what}: ${error.stack ?? error}`);
    return error.code;
  }
  throw new Error(`${what}: accepted`);
}

async function refusedAs(code, work, what, ...stores) {
  const before = await Promise.all(stores.map(contents));
  const found = await refused(work, what);
  ensure(found === code, `${what}: ${found} instead of ${code}`);
  const after = await Promise.all(stores.map(contents));
  ensure(after.every((text, index) => text === before[index]), `${what}: the store has changed`);
}

export async function party(user, suites = [1, 2]) {
  const store = new e2ee.MemoryStore();
  const device = await e2ee.Device.generate(store, new e2ee.Address(user, "phone"), { suites, now: NOW });
  const publication = await device.publishBundle({ oneTime: 4 });
  const heap = [...publication.oneTime];
  return {
    store,
    device,
    publication,
    address: device.address,
    claim: () => publication.bundle(heap.shift() ?? null),
    start(other) {
      return e2ee.processPrekeyBundle(store, other.address, other.claim(), { now: NOW });
    },
    send: (other, text) => e2ee.encrypt(store, other.address, encoding.ascii(text), { now: NOW }),
    read: (other, message, now = NOW) => e2ee.decrypt(store, other.address, message, { now }),
  };
}

export async function talking(suites) {
  const [alice, bob] = [await party("alice", suites), await party("bob", suites)];
  await alice.start(bob);
  await bob.read(alice, await alice.send(bob, "hello"));
  await alice.read(bob, await bob.send(alice, "hello yourself"));
  return [alice, bob];
}

async function group(alice, bob) {
  const log = new e2ee.MembershipLog("g");
  const entries = [];
  for (const add of ["alice", "bob"]) entries.push(await log.propose(alice.store, { add, now: NOW }));
  const [ours, theirs] = [alice, bob].map(({ store }) => new e2ee.GroupSession(store, log));
  const distribution = await ours.rotate({ now: NOW });
  await theirs.receiveKey(alice.address, distribution);
  return { log, entries, ours, theirs, distribution };
}

/** [name, reader, bytes that it accepts] of every reader. */
async function readers() {
  const [alice, bob] = await talking();
  const [fresh, other] = [await party("alice"), await party("bob")];
  await fresh.start(other);
  const account = await e2ee.AccountKey.generate();
  const { entries, ours, distribution } = await group(alice, bob);
  const message = await alice.send(bob, "x");
  const request = await e2ee.requestRetry(bob.store, alice.address, message, { now: NOW });
  const { pointer } = await e2ee.Attachment.encrypt(encoding.ascii("x"));
  const safety = new e2ee.SafetyNumber(new Uint8Array(32), new Uint8Array(32).fill(7));
  const list = await e2ee.DeviceList.create(account, "bob", [bob.device.record]);
  const { signedPrekey, kemPrekey, oneTime } = bob.publication;
  // The parser of group messages is private: a session without the key tells what it refuses from what it lacks.
  const reader = new e2ee.GroupSession((await party("carol")).store, ours.log);
  const groupMessage = async (data) => {
    try {
      await reader.decrypt(alice.address, data, { now: later() });
    } catch (error) {
      if (!(error instanceof e2ee.NoSession)) throw error;
    }
  };
  return [
    ["message", (data) => envelope.parse(alice.address, data), message],
    ["first message", (data) => envelope.parse(alice.address, data), await fresh.send(other, "x")],
    ["group message", groupMessage, await ours.encrypt(encoding.ascii("x"), { now: NOW })],
    ["bundle", (data) => e2ee.PreKeyBundle.fromBytes(data), bob.claim().toBytes()],
    ["record", (data) => e2ee.DeviceRecord.fromBytes(data), bob.device.record.toBytes()],
    ["signed prekey", (data) => e2ee.SignedPreKey.fromBytes(data), signedPrekey.toBytes()],
    ["KEM prekey", (data) => e2ee.KemPreKey.fromBytes(data), kemPrekey.toBytes()],
    ["one-time prekey", (data) => e2ee.OneTimePreKey.fromBytes(data), oneTime[0].toBytes()],
    ["device list", (data) => e2ee.DeviceList.fromBytes(data), list.toBytes()],
    ["membership entry", (data) => e2ee.MembershipEntry.fromBytes(data), entries[1].toBytes()],
    ["sender key", (data) => e2ee.Distribution.fromBytes(data), distribution.toBytes()],
    ["retry request", (data) => e2ee.RetryRequest.fromBytes(data), request.toBytes()],
    ["pointer", (data) => e2ee.Attachment.fromBytes(data), pointer.toBytes()],
    ["backup", (data) => e2ee.Backup.open(RECOVERY, data), await e2ee.Backup.seal(RECOVERY, encoding.ascii("x"))],
    ["safety number", async (data) => safety.matchesQr(data), safety.qr],
  ];
}

const NOT_BYTES = () => [
  "text",
  "",
  null,
  undefined,
  7,
  [1, 2],
  {},
  new Uint16Array(60),
  new Int8Array(60),
  new DataView(new ArrayBuffer(60)),
  new ArrayBuffer(60),
  { length: 60, BYTES_PER_ELEMENT: 1, slice: () => new Uint8Array(60) },
];

const flipped = (data, position, mask) => {
  const broken = data.slice();
  broken[position] ^= mask;
  return broken;
};

function mutated(data, draw) {
  const extremes = ["ff", "00", "80", "ffffffff", "00000000", "80000000", "7fffffff", "ffffffffffffffff"];
  let broken = [...data];
  for (let change = 1 + draw(3); change > 0; change--) {
    const at = draw(broken.length + 1);
    const noise = Array.from({ length: 1 + draw(40) }, () => draw(256));
    const piece = draw(2) ? [...encoding.unhex(extremes[draw(extremes.length)])] : noise;
    const from = draw(data.length);
    const cut = [piece.length, 0, 1 + draw(40), 40];
    const kind = draw(4);
    broken.splice(at, cut[kind], ...[piece, piece, [], [...data.slice(from, from + 40)]][kind]);
  }
  return Uint8Array.from(broken);
}

export const checks = {
  async "every reader refuses what is not bytes, and every other length"() {
    for (const [name, read, data] of await readers()) {
      await read(data);
      for (const wrong of [...NOT_BYTES(), [...data], hex(data), new Int8Array(data)]) {
        const code = await refused(async () => read(wrong), `${name} of ${Object.prototype.toString.call(wrong)}`);
        ensure(code === "invalid_message", `${name}: ${code}`);
      }
      for (let length = 0; length < data.length; length++) {
        const code = await refused(async () => read(data.slice(0, length)), `${name} of ${length} bytes`);
        ensure(["invalid_message", "invalid_key"].includes(code), `${name} of ${length} bytes: ${code}`);
      }
    }
  },

  async "every reader gives its own errors only"() {
    for (const [name, read, data] of await readers()) {
      const draw = random(data.length);
      let refusals = 0;
      for (let round = 0; round < 400; round++) {
        const broken = mutated(data, draw);
        try {
          await read(broken);
        } catch (error) {
          ensure(error instanceof e2ee.E2EEError, `${name} of ${hex(broken)}: ${error.stack ?? error}`);
          refusals++;
        }
      }
      ensure(refusals > 80, `${name}: ${refusals} refusals`);
    }
  },

  async "every flipped byte is refused and changes nothing"() {
    for (const suites of [[1], [1, 2]]) {
      for (const first of [true, false]) {
        const [alice, bob] = first ? [await party("alice", suites), await party("bob", suites)] : await talking(suites);
        if (first) await alice.start(bob);
        const message = await alice.send(bob, "x");
        const before = await contents(bob.store);
        for (let position = 0; position < message.length; position++) {
          const broken = flipped(message, position, position % 2 ? 1 : 0x80);
          await refused(() => bob.read(alice, broken, later()), `byte ${position} of ${message.length}`);
          if (position % 97 === 0) ensure((await contents(bob.store)) === before, `byte ${position} changed the store`);
        }
        ensure((await contents(bob.store)) === before, "the store has changed");
        ensure((await bob.read(alice, message, later())).plaintext.length === 1, "the message itself is read");
      }
    }
  },

  async "every flipped byte of what is signed is refused and changes nothing"() {
    const [alice, bob] = await talking();
    const account = await e2ee.AccountKey.generate();
    const list = await e2ee.DeviceList.create(account, "bob", [bob.device.record]);
    const { entries, ours, theirs } = await group(alice, bob);
    const message = await ours.encrypt(encoding.ascii("x"), { now: NOW });
    const lost = await alice.send(bob, "lost");
    const request = await e2ee.requestRetry(bob.store, alice.address, lost, { now: NOW });
    const bundle = bob.claim().toBytes();
    const process = (data) =>
      e2ee.processPrekeyBundle(alice.store, bob.address, e2ee.PreKeyBundle.fromBytes(data), { now: NOW });
    const follow = (data) =>
      new e2ee.MembershipLog("g").append(e2ee.MembershipEntry.fromBytes(data), alice.device.record);
    const answer = (data) =>
      e2ee.answerRetry(alice.store, bob.address, e2ee.RetryRequest.fromBytes(data), { now: NOW });
    const stores = [alice.store, bob.store];
    const before = await Promise.all(stores.map(contents));
    for (const [name, data, act] of [
      ["bundle", bundle.slice(0, bundle.length - 37), (start) => process(concat(start, bundle.slice(-37)))],
      ["device list", list.toBytes(), (data) => e2ee.acceptDeviceList(alice.store, e2ee.DeviceList.fromBytes(data))],
      ["record", bob.device.record.toBytes(), (data) => e2ee.DeviceRecord.fromBytes(data).verify()],
      ["membership entry", entries[0].toBytes(), follow],
      ["retry request", request.toBytes(), answer],
      ["group message", message, (data) => theirs.decrypt(alice.address, data, { now: later() })],
    ]) {
      for (let position = 0; position < data.length; position++) {
        const broken = flipped(data, position, 1 << position % 8);
        await refused(async () => act(broken), `byte ${position} of a ${name}`);
      }
      const after = await Promise.all(stores.map(contents));
      ensure(after.every((text, index) => text === before[index]), `a broken ${name} changed a store`);
    }
  },

  async "what is not bytes is neither sent nor read"() {
    const [alice, bob] = await talking();
    const { ours, theirs } = await group(alice, bob);
    const { pointer } = await e2ee.Attachment.encrypt(encoding.ascii("x"));
    const stores = [alice.store, bob.store];
    for (const wrong of NOT_BYTES()) {
      const what = Object.prototype.toString.call(wrong);
      for (const work of [
        () => e2ee.encrypt(alice.store, bob.address, wrong, { now: NOW }),
        () => bob.read(alice, wrong, later()),
        () => ours.encrypt(wrong, { now: NOW }),
        () => theirs.decrypt(alice.address, wrong, { now: later() }),
        () => e2ee.requestRetry(bob.store, alice.address, wrong, { now: NOW }),
        () => e2ee.Attachment.encrypt(wrong),
        () => pointer.decrypt(wrong),
        () => e2ee.Backup.seal(RECOVERY, wrong),
        async () => envelope.pad(wrong),
        async () => keys.decodeKey(keys.X25519, wrong),
      ]) {
        await refusedAs("invalid_message", work, `${what} for ${work}`, ...stores);
      }
    }
    for (const wrong of [null, undefined, 7, ["bob"], "", "x".repeat(256), "\udc80"]) {
      for (const address of [new e2ee.Address(wrong, "phone"), new e2ee.Address("bob", wrong)]) {
        await refusedAs(
          "invalid_message",
          () => e2ee.encrypt(alice.store, address, new Uint8Array(), { now: NOW }),
          `the id ${wrong}`,
          ...stores,
        );
      }
    }
    const text = await new e2ee.RecoveryKey(Uint8Array.from({ length: 32 }, (_, index) => 1 + 2 * index)).text();
    ensure(text.includes("k"), text);
    for (const wrong of [null, 7, "", "a", text.replaceAll("k", "\u212a"), text.replaceAll("i", "\u0131")]) {
      await refusedAs("invalid_key", () => e2ee.RecoveryKey.fromText(wrong), `the recovery key ${wrong}`);
    }
  },

  async "counters above the limit are malformed"() {
    const [alice, bob] = await talking();
    const message = await alice.send(bob, "x");
    for (const [previous, number] of [[2 ** 31, 0], [0, 2 ** 31], [2 ** 32 - 1, 2 ** 32 - 1]]) {
      const broken = concat(message.slice(0, 50), u32(previous), u32(number), message.slice(58));
      await refusedAs("invalid_message", () => bob.read(alice, broken), `${previous} ${number}`, bob.store);
    }
    const far = concat(message.slice(0, 50), u32(0), u32(2 ** 31 - 1), message.slice(58));
    await refusedAs("too_many_skipped", () => bob.read(alice, far), "the highest counter", bob.store);
    const { theirs, distribution } = await group(alice, bob);
    const data = distribution.toBytes();
    const end = data.length - 65;
    const beyond = concat(data.slice(0, end - 4), u32(2 ** 31), data.slice(end));
    await refusedAs("invalid_message", async () => e2ee.Distribution.fromBytes(beyond), "a sender key's counter");
    const header = concat(Uint8Array.of(1, 3), distribution.id, u32(2 ** 31), new Uint8Array(200));
    await refusedAs("invalid_message", () => theirs.decrypt(alice.address, header, { now: NOW }), "group", bob.store);
  },

  async "a huge message is refused without reading it"() {
    const [alice, bob] = await talking();
    const message = await alice.send(bob, "x");
    const huge = new Uint8Array(64_000_000);
    huge.set(message.slice(0, 58));
    const started = performance.now();
    await refusedAs("invalid_message", () => bob.read(alice, huge), "64 MB", bob.store);
    const elapsed = performance.now() - started;
    ensure(elapsed < 2_000, `${elapsed} ms`);
    const longest = await e2ee.encrypt(alice.store, bob.address, new Uint8Array(65_535), { now: NOW });
    ensure((await bob.read(alice, longest)).plaintext.length === 65_535, "the longest message is read");
  },

  async "bytes that the caller changes meanwhile are those of the call"() {
    const [alice, bob] = await talking();
    const { ours, theirs } = await group(alice, bob);
    const secret = encoding.ascii("secret");
    const sending = [
      e2ee.encrypt(alice.store, bob.address, secret, { now: NOW }),
      ours.encrypt(secret, { now: NOW }),
      e2ee.Attachment.encrypt(secret),
    ];
    secret.fill(0);
    const [message, groupMessage, { pointer, ciphertext }] = await Promise.all(sending);
    const reading = [
      bob.read(alice, message),
      theirs.decrypt(alice.address, groupMessage, { now: NOW }),
      pointer.decrypt(ciphertext).then((plaintext) => ({ plaintext })),
    ];
    for (const bytes of [message, groupMessage, ciphertext]) bytes.fill(0);
    for (const { plaintext } of await Promise.all(reading)) {
      ensure(hex(plaintext) === hex(encoding.ascii("secret")), hex(plaintext));
      plaintext.fill(0);
    }
    const kept = (await e2ee.pending(bob.store)).map(({ plaintext }) => hex(plaintext));
    ensure(kept.filter((text) => text === hex(encoding.ascii("secret"))).length === 2, "the inbox has its own copy");
  },

  async "failures are slowed down though they were all started at once"() {
    const [alice, bob] = await talking();
    const message = await alice.send(bob, "x");
    const { theirs } = await group(alice, bob);
    const broken = flipped(message, message.length - 1, 1);
    const tries = Array.from({ length: 60 }, () => refused(() => bob.read(alice, broken), "a broken message"));
    const codes = await Promise.all(tries);
    ensure(codes.filter((code) => code === "invalid_message").length === 16, codes.join());
    ensure(codes.slice(16).every((code) => code === "throttled"), codes.join());
    await refusedAs("throttled", () => theirs.decrypt(alice.address, broken, { now: NOW }), "in a group", bob.store);
    ensure((await bob.read(alice, message, NOW + 1)).plaintext.length === 1, "a second later it is read");
  },

  async "one message read many times at once is read once"() {
    const [alice, bob] = await talking();
    const message = await alice.send(bob, "x");
    const tries = await Promise.allSettled(Array.from({ length: 20 }, () => bob.read(alice, message)));
    ensure(tries.filter(({ status }) => status === "fulfilled").length === 1, "exactly one");
    ensure(tries.every(({ reason }) => !reason || reason.code === "duplicate_message"), "the others are duplicates");
    const sent = await Promise.all(Array.from({ length: 30 }, () => alice.send(bob, "y")));
    const numbers = new Set(sent.map((each) => hex(each.slice(54, 58))));
    ensure(numbers.size === 30, "no message key is used twice");
  },

  async "a forged first message costs no one-time prekey and pins nobody"() {
    const [alice, bob] = [await party("alice"), await party("bob")];
    await alice.start(bob);
    const message = await alice.send(bob, "x");
    const last = message.length - 1;
    await refusedAs("invalid_message", () => bob.read(alice, flipped(message, last, 1)), "forged", bob.store);
    const spoofed = () => e2ee.decrypt(bob.store, new e2ee.Address("dave", "phone"), message, { now: NOW });
    await refusedAs("invalid_signature", spoofed, "spoofed", bob.store);
    await bob.read(alice, message);
    await refusedAs("duplicate_message", () => bob.read(alice, message), "replayed", bob.store);
    await bob.store.transaction(async (tx) => {
      for (const table of [tables.SESSION, tables.ACTIVE, tables.ARCHIVED]) {
        for (const [key] of await tx.scan(table)) tx.delete(table, key);
      }
    });
    await refusedAs("duplicate_message", () => bob.read(alice, message), "replayed without its session", bob.store);
  },

  async "a weaker suite, an older record and a stripped KEM key are refused"() {
    const [alice, bob] = [await party("alice"), await party("bob")];
    const bundle = bob.claim();
    const stripped = new e2ee.PreKeyBundle(bundle.record, bundle.signedPrekey, null, bundle.oneTime);
    const process = (offered) => () => e2ee.processPrekeyBundle(alice.store, bob.address, offered, { now: NOW });
    await refusedAs("downgrade_refused", process(stripped), "no KEM key", alice.store);
    const weaker = new e2ee.DeviceRecord({ ...bundle.record, suites: [1] });
    const unsigned = new e2ee.PreKeyBundle(weaker, bundle.signedPrekey, null, null);
    await refusedAs("invalid_signature", process(unsigned), "suites stripped on the way", alice.store);
    await alice.start(bob);
    const { signingKey } = await bob.store.transaction((tx) => tx.get(tables.DEVICE, ""));
    const older = await new e2ee.DeviceRecord({ ...weaker, created: NOW - 1 }).signedWith(signingKey);
    const old = new e2ee.PreKeyBundle(older, bundle.signedPrekey, null, null);
    await refusedAs("downgrade_refused", process(old), "an older record", alice.store);
  },

  async "objects made by hand are checked like those that were read"() {
    const [alice, bob] = [await party("alice"), await party("bob")];
    const neutral = Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? 1 : 0));
    const fitsAll = concat(neutral, new Uint8Array(32));
    const low = new Uint8Array(32);
    const { signingKey } = await bob.store.transaction((tx) => tx.get(tables.DEVICE, ""));
    const { record, signedPrekey, kemPrekey, oneTime } = bob.claim();
    const forged = new e2ee.DeviceRecord({ ...record, signingKey: neutral, signature: fitsAll });
    const weak = await new e2ee.DeviceRecord({ ...record, dhKey: low }).signedWith(signingKey);
    const covered = e2ee.SignedPreKey.covered(bob.address, signedPrekey.id, low);
    const weakPrekey = new e2ee.SignedPreKey(signedPrekey.id, low, await sign(signingKey, covered));
    for (const parts of [
      [forged, signedPrekey, kemPrekey, oneTime],
      [weak, signedPrekey, kemPrekey, oneTime],
      [record, weakPrekey, kemPrekey, oneTime],
      [record, signedPrekey, kemPrekey, new e2ee.OneTimePreKey(oneTime.id, low)],
    ]) {
      const bundle = new e2ee.PreKeyBundle(...parts);
      const process = () => e2ee.processPrekeyBundle(alice.store, bob.address, bundle, { now: NOW });
      await refusedAs("invalid_key", process, "a bundle", alice.store);
    }
    const account = await e2ee.AccountKey.generate();
    const list = await e2ee.DeviceList.create(account, "bob", [record]);
    const forgedList = new e2ee.DeviceList({ ...list, account: neutral, signature: fitsAll });
    await refusedAs("invalid_key", () => e2ee.acceptDeviceList(alice.store, forgedList), "a list", alice.store);
    const { theirs, distribution } = await group(alice, bob);
    const key = new e2ee.Distribution({ ...distribution, id: new Uint8Array(16), signingKey: neutral });
    await refusedAs("invalid_key", () => theirs.receiveKey(alice.address, key), "a sender key", bob.store);
    ensure((await bob.device.refill(-1e9)).length === 100, "a directory cannot ask for more than 100 prekeys");
  },

  async "a removed device neither writes to a group nor reads on"() {
    const [alice, bob] = await talking();
    const { log, ours, theirs } = await group(alice, bob);
    await ours.receiveKey(bob.address, await theirs.rotate({ now: NOW }));
    const late = await theirs.encrypt(encoding.ascii("from the thief"), { now: NOW });
    const tablet = await e2ee.Device.generate(new e2ee.MemoryStore(), new e2ee.Address("bob", "tablet"), { now: NOW });
    const account = await e2ee.AccountKey.generate();
    const list = await e2ee.DeviceList.create(account, "bob", [tablet.record]);
    await e2ee.acceptDeviceList(alice.store, list);
    await refusedAs("no_session", () => ours.decrypt(bob.address, late, { now: NOW }), "read", alice.store);
    const again = await theirs.rotate({ now: NOW });
    await refusedAs("untrusted_identity", () => ours.receiveKey(bob.address, again), "a new key", alice.store);
    await refusedAs("rotation_needed", () => ours.encrypt(encoding.ascii("x"), { now: NOW }), "sent", alice.store);
    await ours.rotate({ now: NOW });
    const message = await ours.encrypt(encoding.ascii("x"), { now: NOW });
    await refusedAs("no_session", () => theirs.decrypt(alice.address, message, { now: NOW }), "read on", bob.store);
    ensure(log.members.has("bob"), "the user is still a member");
  },

  async "a new account key is trusted with its list and with nothing else"() {
    const [alice, bob] = await talking();
    const [account, other] = [await e2ee.AccountKey.generate(), await e2ee.AccountKey.generate()];
    const first = await e2ee.DeviceList.create(account, "bob", [bob.device.record]);
    const second = await first.next(account, [bob.device.record]);
    await e2ee.acceptDeviceList(alice.store, first);
    await e2ee.acceptDeviceList(alice.store, second);
    const back = () => e2ee.trustAccount(alice.store, first);
    await refusedAs("stale_device_list", back, "an older list", alice.store);
    const renewed = await e2ee.DeviceList.create(other, "bob", [bob.device.record]);
    const forged = new e2ee.DeviceList({ ...renewed, signature: second.signature });
    await refusedAs("invalid_signature", () => e2ee.trustAccount(alice.store, forged), "a forged list", alice.store);
    await refusedAs("untrusted_identity", () => e2ee.acceptDeviceList(alice.store, renewed), "unasked", alice.store);
    await e2ee.trustAccount(alice.store, renewed);
    await e2ee.acceptDeviceList(alice.store, await renewed.next(other, [bob.device.record]));
    const odd = new e2ee.DeviceList({ ...renewed, epoch: 0 });
    await refusedAs("invalid_message", () => e2ee.acceptDeviceList(alice.store, odd), "epoch 0", alice.store);
  },

  async "a retry request is answered once however often it is delivered"() {
    const [alice, bob] = await talking();
    const message = await alice.send(bob, "x");
    const ask = (now) => e2ee.requestRetry(bob.store, alice.address, message, { now });
    const answer = (request, now) => e2ee.answerRetry(alice.store, bob.address, request, { now });
    const [first, second] = [await ask(NOW), await ask(NOW + HOUR)];
    await answer(second, NOW + HOUR);
    for (const replayed of [first, second]) {
      await refusedAs("retry_refused", () => answer(replayed, NOW + 2 * HOUR), "replayed", alice.store);
    }
    await answer(await ask(NOW + 2 * HOUR), NOW + 2 * HOUR);
  },

  async "keys and sessions that are too old go without a message"() {
    const [alice, bob] = await talking();
    const { ours, theirs } = await group(alice, bob);
    const pairwise = [await alice.send(bob, "0"), await alice.send(bob, "1")];
    const grouped = [];
    for (const text of ["0", "1", "2"]) grouped.push(await ours.encrypt(encoding.ascii(text), { now: NOW }));
    await bob.read(alice, pairwise[1]);
    await theirs.decrypt(alice.address, grouped[1], { now: NOW });
    await alice.start(bob);
    await bob.read(alice, await alice.send(bob, "on a new session"));
    const count = (table) => bob.store.transaction(async (tx) => (await tx.scan(table)).length);
    const skipped = (table) =>
      bob.store.transaction(async (tx) => {
        const rows = await tx.scan(table);
        return rows.reduce((total, [, state]) => total + state.skipped.size, 0);
      });
    await bob.device.rotate({ now: NOW + 30 * DAY });
    ensure((await count(tables.SESSION)) === 2 && (await skipped(tables.GROUP_PEER)) === 1, "kept for thirty days");
    await bob.device.rotate({ now: NOW + 30 * DAY + 1 });
    ensure((await count(tables.SESSION)) === 1 && (await count(tables.ARCHIVED)) === 0, "the archived session is gone");
    ensure((await skipped(tables.GROUP_PEER)) === 0, "the group's skipped key is gone");
    ensure((await skipped(tables.SESSION)) === 0, "skipped keys are gone");
  },
};
