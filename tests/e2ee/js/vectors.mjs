// Checks vectors.json against the JavaScript core, in Node and in browsers: `await checkVectors(vectors)` throws at the
// first difference, and gives the number of comparisons made.

const BASE = "../../../mana_e2ee/static/mana_e2ee/";
const load = (name) => import(`${BASE}${name}.js`);
const [e2ee, primitives, kem, keys, encoding, envelope, ratchet, sessions, tables] = await Promise.all(
  ["e2ee", "primitives", "kem", "keys", "encoding", "envelope", "ratchet", "sessions", "tables"].map(load),
);
const { hex, unhex } = encoding;
const { sources } = primitives;
const NOW = 1_800_000_000;

let compared = 0;

function same(found, expected, what) {
  compared++;
  const [one, other] = [found, expected].map((value) => (value instanceof Uint8Array ? hex(value) : JSON.stringify(value)));
  const plain = (text) => text.replaceAll('"', "");
  if (plain(one) !== plain(other)) throw new Error(`${what}: ${one.slice(0, 200)} instead of ${other.slice(0, 200)}`);
}

async function refuses(code, work, what) {
  compared++;
  try {
    await work();
  } catch (error) {
    if (error.code === code) return;
    throw new Error(`${what}: ${error.code ?? error.stack} instead of ${code}`);
  }
  throw new Error(`${what}: accepted, instead of ${code}`);
}

/** Replaces every source of randomness by the recorded draws; puts them back afterwards. */
async function fixed(draws, encapsulated, work) {
  const before = { ...sources };
  const queue = draws.map(unhex);
  const secrets = [...encapsulated];
  const next = () => {
    if (queue.length === 0) throw new Error("no draws left");
    return queue.shift();
  };
  Object.assign(sources, {
    randomBytes: next,
    x25519: () => primitives.importPair("X25519", next()),
    ed25519: () => primitives.importPair("Ed25519", next()),
    kem: () => kem.importKem(next()),
    encapsulate: async () => {
      const { ciphertext, secret } = secrets.shift();
      return { ciphertext: unhex(ciphertext), secret: unhex(secret) };
    },
  });
  try {
    const result = await work();
    same(queue.length, 0, "draws left over");
    return result;
  } finally {
    Object.assign(sources, before);
  }
}

async function device(user, suites) {
  const store = new e2ee.MemoryStore();
  return { store, device: await e2ee.Device.generate(store, new e2ee.Address(user, "phone"), { suites, now: NOW }) };
}

async function checkKdf(kdf) {
  const [root, chain] = await ratchet.kdfRoot(unhex(kdf.root_in), unhex(kdf.dh));
  const [next, messageKey] = await ratchet.kdfChain(chain);
  same(root, kdf.root, "root key");
  same(chain, kdf.chain, "chain key");
  same(next, kdf.next_chain, "next chain key");
  same(messageKey, kdf.message_key, "message key");
  same(await ratchet.messageSecret(messageKey), kdf.key_and_nonce, "key and nonce");
}

async function checkConversation(vector) {
  const what = `conversation ${vector.suites} ${vector.encapsulated.length}`;
  await fixed([...vector.draws.setup, ...vector.draws.after], vector.encapsulated, async () => {
    const alice = await device("alice", vector.suites);
    const bob = await device("bob", vector.suites);
    same(alice.device.record.toBytes(), vector.alice_record, `${what} record`);
    const publication = await bob.device.publishBundle({ oneTime: 1 });
    const wanted = e2ee.PreKeyBundle.fromBytes(unhex(vector.bundle));
    const bundle = publication.bundle(wanted.oneTime ? publication.oneTime[0] : null);
    same(bundle.toBytes(), vector.bundle, `${what} bundle`);
    const sessionId = await e2ee.processPrekeyBundle(alice.store, bob.device.address, bundle, { now: NOW });
    same(sessionId, vector.session_id, `${what} session id`);
    const state = await alice.store.transaction((tx) => sessions.findSession(tx, bob.device.address, sessionId, NOW));
    same(state.transcript, vector.transcript, `${what} transcript`);
    same(state.root, vector.root, `${what} root`);
    same(state.sending, vector.sending, `${what} chain`);
    for (const [index, step] of vector.steps.entries()) {
      const [own, other] = step.by === "alice" ? [alice, bob] : [bob, alice];
      const address = other.device.address;
      if (step.do === "encrypt") {
        const message = await e2ee.encrypt(own.store, address, unhex(step.plaintext), { now: NOW });
        same(message, step.message, `${what} step ${index}`);
      } else {
        const { message, plaintext } = vector.steps[step.step];
        const received = await e2ee.decrypt(own.store, address, unhex(message), { now: NOW });
        same(received.plaintext, plaintext, `${what} step ${index}`);
        await refuses(
          "duplicate_message",
          () => e2ee.decrypt(own.store, address, unhex(message), { now: NOW }),
          `${what} step ${index} again`,
        );
      }
    }
  });
}

async function checkLists(vector) {
  const account = await e2ee.AccountKey.fromSeed(unhex(vector.account_seed));
  const first = await e2ee.DeviceList.fromBytes(unhex(vector.first)).verify();
  const second = await e2ee.DeviceList.fromBytes(unhex(vector.second)).verify();
  same(await first.hash(), vector.first_hash, "first list's hash");
  same(await second.hash(), vector.second_hash, "second list's hash");
  const [phone, tablet] = second.devices;
  same((await e2ee.DeviceList.create(account, "bob", [phone])).toBytes(), vector.first, "first list");
  same((await first.next(account, [tablet, phone])).toBytes(), vector.second, "second list");
  const { store } = await device("alice", [1]);
  same((await e2ee.acceptDeviceList(store, first)).added.length, 1, "added by the first");
  same((await e2ee.acceptDeviceList(store, second)).added.length, 1, "added by the second");
  await refuses("stale_device_list", () => e2ee.acceptDeviceList(store, first), "rollback");
}

async function checkGroups(vector) {
  await fixed([...vector.draws.setup, ...vector.draws.after], [], async () => {
    const { store, device: alice } = await device("alice", [1]);
    same(alice.record.toBytes(), vector.record, "group record");
    const log = new e2ee.MembershipLog("team");
    for (const [index, add] of ["alice", "bob"].entries()) {
      const entry = await log.propose(store, { add, now: NOW });
      same(entry.toBytes(), vector.entries[index], `entry ${index}`);
      same(await entry.hash(), vector.hashes[index], `entry hash ${index}`);
    }
    const session = new e2ee.GroupSession(store, log);
    same((await session.rotate({ now: NOW })).toBytes(), vector.distribution, "distribution");
    for (const [index, plaintext] of vector.plaintexts.entries()) {
      same(await session.encrypt(unhex(plaintext), { now: NOW }), vector.messages[index], `group message ${index}`);
    }
  });
  const { store } = await device("bob", [1]);
  const record = e2ee.DeviceRecord.fromBytes(unhex(vector.record));
  const entries = vector.entries.map((entry) => [e2ee.MembershipEntry.fromBytes(unhex(entry)), record]);
  const session = new e2ee.GroupSession(store, await e2ee.MembershipLog.replay("team", entries));
  await session.receiveKey(record.address, e2ee.Distribution.fromBytes(unhex(vector.distribution)));
  for (const index of [2, 0, 1]) {
    const received = await session.decrypt(record.address, unhex(vector.messages[index]), { now: NOW });
    same(received.plaintext, vector.plaintexts[index], `group plaintext ${index}`);
  }
}

async function checkFiles(vector) {
  for (const row of vector.attachments) {
    const plaintext = Uint8Array.from({ length: row.size }, (_, index) => index % 251);
    const { pointer, ciphertext } = await fixed([row.key], [], () => e2ee.Attachment.encrypt(plaintext));
    same(pointer.toBytes(), row.pointer, `pointer of ${row.size}`);
    same(ciphertext.slice(0, 48), row.ciphertext_start, `file of ${row.size}`);
    const back = await e2ee.Attachment.fromBytes(unhex(row.pointer)).decrypt(ciphertext);
    same(back.length === row.size && encoding.equal(back, plaintext), true, `file of ${row.size} comes back`);
    for (const broken of [ciphertext.slice(1), ciphertext.slice(0, -1), new Uint8Array()]) {
      await refuses("invalid_message", () => pointer.decrypt(broken), "broken file");
    }
  }
  const recovery = await e2ee.RecoveryKey.fromText(vector.recovery_text.toUpperCase());
  same(recovery.key, vector.recovery_key, "recovery key");
  same(await recovery.text(), vector.recovery_text, "recovery text");
  const sealed = await fixed([vector.salt], [], () => e2ee.Backup.seal(recovery, unhex(vector.backup_plaintext)));
  same(sealed, vector.backup, "backup");
  same(await e2ee.Backup.open(recovery, unhex(vector.backup)), vector.backup_plaintext, "opened backup");
  await refuses("invalid_key", () => e2ee.RecoveryKey.fromText(`b${vector.recovery_text.slice(1)}`), "mistyped");
  await refuses("invalid_message", () => e2ee.Backup.open(e2ee.RecoveryKey.generate(), sealed), "other key");
}

async function checkRetry(vector) {
  await fixed(vector.draws, [], async () => {
    const alice = await device("alice", [1]);
    const bob = await device("bob", [1]);
    same(bob.device.record.toBytes(), vector.bob_record, "retry record");
    const bundle = (await bob.device.publishBundle({ oneTime: 0 })).bundle(null);
    await e2ee.processPrekeyBundle(alice.store, bob.device.address, bundle, { now: NOW });
    const message = await e2ee.encrypt(alice.store, bob.device.address, encoding.ascii("lost"), { now: NOW });
    same(message, vector.message, "retry message");
    const request = await e2ee.requestRetry(bob.store, alice.device.address, message, { now: NOW });
    same(request.toBytes(), vector.request, "retry request");
    const parsed = e2ee.RetryRequest.fromBytes(unhex(vector.request));
    const id = await e2ee.answerRetry(alice.store, bob.device.address, parsed, { now: NOW });
    same(id, parsed.messageId, "retry answer");
    await refuses(
      "retry_refused",
      () => e2ee.answerRetry(alice.store, bob.device.address, parsed, { now: NOW + 1 }),
      "second retry",
    );
  });
}

export async function checkVectors(vectors) {
  compared = 0;
  await checkKdf(vectors.kdf);
  for (const [length, size] of vectors.buckets) {
    same(envelope.bucket(length), size, `bucket of ${length}`);
    const plaintext = new Uint8Array(length).fill(0x80);
    same(envelope.unpad(envelope.pad(plaintext)).length, length, `padding of ${length}`);
  }
  for (const [kind, type] of [["ed25519", keys.ED25519], ["x25519", keys.X25519]]) {
    for (const key of vectors.refused_keys[kind]) {
      await refuses("invalid_key", () => keys.decodeKey(type, keys.encodeKey(type, unhex(key))), `${kind} ${key}`);
    }
  }
  for (const row of vectors.safety_numbers) {
    const [local, remote] = [unhex(row.local_key), unhex(row.remote_key)];
    const ours = await e2ee.SafetyNumber.ofKeys(row.local_id, local, row.remote_id, remote);
    same(ours.digits, row.digits, "safety number");
    same(ours.qr, row.qr, "safety number's code");
    same(ours.matchesQr(new e2ee.SafetyNumber(ours.remote, ours.local).qr), true, "code of the other side");
    same(ours.matchesQr(ours.qr), false, "own code");
  }
  for (const vector of vectors.conversations) await checkConversation(vector);
  await checkLists(vectors.lists);
  await checkGroups(vectors.groups);
  await checkFiles(vectors.files);
  await checkRetry(vectors.retry);
  same(tables.idKey(258), "00000102", "id key");
  return compared;
}
