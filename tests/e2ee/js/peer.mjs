// Devices of the JavaScript core that a test drives from Python: `await handle(command)` answers a plain object, or
// {error: code} when the core refuses. Bytes travel as hex. Works in Node (peer_node.mjs) and in a browser.

const BASE = "../../../mana_e2ee/static/mana_e2ee/";
const load = (name) => import(`${BASE}${name}.js`);
const [e2ee, kem, encoding, primitives, keys] = await Promise.all(
  ["e2ee", "kem", "encoding", "primitives", "keys"].map(load),
);
const { hex, unhex } = encoding;

const devices = new Map();
const address = ({ user, device }) => new e2ee.Address(user, device);
const shown = (received) => ({ plaintext: hex(received.plaintext), sessionId: hex(received.sessionId) });

/** The primitives as the core uses them, for published vectors: bytes in, bytes out. */
const raw = {
  async x25519(privateKey, publicKey) {
    const pair = await primitives.importPair("X25519", privateKey);
    return primitives.x25519(pair.privateKey, keys.decodeKey(keys.X25519, keys.encodeKey(keys.X25519, publicKey)));
  },
  async verify(publicKey, signature, message) {
    const key = keys.decodeKey(keys.ED25519, keys.encodeKey(keys.ED25519, publicKey));
    await primitives.verify(key, signature, message);
    return Uint8Array.of(1);
  },
  async sign(seed, message) {
    const { privateKey, publicKey } = await primitives.importPair("Ed25519", seed);
    return encoding.concat(publicKey, await primitives.sign(privateKey, message));
  },
  seal: (keyAndNonce, plaintext, associated) => primitives.seal(keyAndNonce, plaintext, associated),
  unseal: (keyAndNonce, ciphertext, associated) => primitives.unseal(keyAndNonce, ciphertext, associated),
  hkdf: (secret, salt, info, length) => primitives.hkdf(secret, { salt, info, length: Number(`0x${hex(length)}`) }),
  hmac: async (key, message) => (await primitives.hmacs(key, message))[0],
  kemPublic: async (seed) => (await kem.importKem(seed)).publicKey,
  kemCheck: async (publicKey) => keys.decodeKey(keys.MLKEM768, keys.encodeKey(keys.MLKEM768, publicKey)),
  decapsulate: async (seed, ciphertext) => kem.decapsulate((await kem.importKem(seed)).secret, ciphertext),
};

const operations = {
  async primitive({ name, values }) {
    return { value: hex(await raw[name](...values.map(unhex))) };
  },

  async make({ id, user, device, suites, now, database }) {
    const store = database ? await e2ee.IndexedDBStore.open(database) : new e2ee.MemoryStore();
    const made = await e2ee.Device.generate(store, new e2ee.Address(user, device), { suites, now });
    devices.set(id, { store, device: made, groups: new Map() });
    return { record: hex(made.record.toBytes()) };
  },

  async load({ id, database }) {
    const store = await e2ee.IndexedDBStore.open(database);
    devices.set(id, { store, device: await e2ee.Device.load(store), groups: new Map() });
    return {};
  },

  async drop({ id }) {
    devices.delete(id);
    return {};
  },

  /** Bundles with one one-time prekey each, and one without. */
  async bundles({ id, oneTime }) {
    const publication = await devices.get(id).device.publishBundle({ oneTime });
    await publication.verify();
    return { bundles: [...publication.oneTime, null].map((key) => hex(publication.bundle(key).toBytes())) };
  },

  async process({ id, bundle, now, ...to }) {
    const parsed = e2ee.PreKeyBundle.fromBytes(unhex(bundle));
    return { sessionId: hex(await e2ee.processPrekeyBundle(devices.get(id).store, address(to), parsed, { now })) };
  },

  async encrypt({ id, plaintext, now, ...to }) {
    return { message: hex(await e2ee.encrypt(devices.get(id).store, address(to), unhex(plaintext), { now })) };
  },

  async decrypt({ id, message, now, ...from }) {
    return shown(await e2ee.decrypt(devices.get(id).store, address(from), unhex(message), { now }));
  },

  async pending({ id }) {
    return { count: (await e2ee.pending(devices.get(id).store)).length };
  },

  async acceptList({ id, list }) {
    const devicesOf = e2ee.DeviceList.fromBytes(unhex(list));
    const { added, removed } = await e2ee.acceptDeviceList(devices.get(id).store, devicesOf);
    return { added: added.length, removed: removed.length };
  },

  async group({ id, group, entries }) {
    const parsed = entries.map(([entry, record]) => [
      e2ee.MembershipEntry.fromBytes(unhex(entry)),
      e2ee.DeviceRecord.fromBytes(unhex(record)),
    ]);
    const { store, groups } = devices.get(id);
    groups.set(group, new e2ee.GroupSession(store, await e2ee.MembershipLog.replay(group, parsed)));
    return {};
  },

  async groupRotate({ id, group, now }) {
    return { key: hex((await devices.get(id).groups.get(group).rotate({ now })).toBytes()) };
  },

  async groupReceive({ id, group, key, ...from }) {
    await devices.get(id).groups.get(group).receiveKey(address(from), e2ee.Distribution.fromBytes(unhex(key)));
    return {};
  },

  async groupEncrypt({ id, group, plaintext, now }) {
    return { message: hex(await devices.get(id).groups.get(group).encrypt(unhex(plaintext), { now })) };
  },

  async groupDecrypt({ id, group, message, now, ...from }) {
    return shown(await devices.get(id).groups.get(group).decrypt(address(from), unhex(message), { now }));
  },

  async requestRetry({ id, message, now, ...from }) {
    const request = await e2ee.requestRetry(devices.get(id).store, address(from), unhex(message), { now });
    return { request: hex(request.toBytes()) };
  },

  async answerRetry({ id, request, now, ...from }) {
    const parsed = e2ee.RetryRequest.fromBytes(unhex(request));
    return { messageId: hex(await e2ee.answerRetry(devices.get(id).store, address(from), parsed, { now })) };
  },

  async seal({ plaintext, recovery }) {
    const { pointer, ciphertext } = await e2ee.Attachment.encrypt(unhex(plaintext));
    const backup = await e2ee.Backup.seal(await e2ee.RecoveryKey.fromText(recovery), unhex(plaintext));
    return { pointer: hex(pointer.toBytes()), ciphertext: hex(ciphertext), backup: hex(backup) };
  },

  async open({ pointer, ciphertext, backup, recovery }) {
    const file = await e2ee.Attachment.fromBytes(unhex(pointer)).decrypt(unhex(ciphertext));
    const plaintext = await e2ee.Backup.open(await e2ee.RecoveryKey.fromText(recovery), unhex(backup));
    return { file: hex(file), plaintext: hex(plaintext) };
  },

  async useNoble({ always }) {
    kem.useNoble(always);
    return { native: await e2ee.hasNativeKem() };
  },

  /** `count` encrypts in a row, in milliseconds. */
  async timeEncrypts({ id, count, size, now, ...to }) {
    const { store } = devices.get(id);
    const plaintext = new Uint8Array(size);
    const start = performance.now();
    for (let index = 0; index < count; index++) await e2ee.encrypt(store, address(to), plaintext, { now });
    return { milliseconds: performance.now() - start };
  },

  /** `count` fan-outs of `size` bytes to the same device `width` times, in milliseconds. */
  async timeFanOuts({ id, count, width, size, now, ...to }) {
    const { store } = devices.get(id);
    const addresses = Array.from({ length: width }, () => address(to));
    const start = performance.now();
    for (let index = 0; index < count; index++) {
      await e2ee.encryptMany(store, addresses, new Uint8Array(size), { now });
    }
    return { milliseconds: performance.now() - start };
  },

  /** `count` encrypts at once; the tabs of a test do this together. */
  async manyEncrypts({ id, count, now, ...to }) {
    const { store } = devices.get(id);
    const work = Array.from({ length: count }, () => e2ee.encrypt(store, address(to), new Uint8Array(4), { now }));
    return { messages: (await Promise.all(work)).map(hex) };
  },

  /** Whether any private identity key, prekey or ratchet key of the device can be exported. */
  async extractable({ id }) {
    const found = [];
    const look = (value) => {
      if (value instanceof CryptoKey) found.push(value.extractable);
      else if (value instanceof Map) value.forEach(look);
      else if (value && typeof value === "object" && !ArrayBuffer.isView(value)) Object.values(value).forEach(look);
    };
    await devices.get(id).store.transaction(async (tx) => {
      for (const table of ["device", "signed_prekey", "kem_prekey", "one_time", "session"]) {
        for (const [, value] of await tx.scan(table)) look(value);
      }
    });
    return { keys: found.length, extractable: found.filter(Boolean).length };
  },
};

export async function handle(command) {
  if (command.op === "batch") {
    const results = [];
    for (const each of command.commands) results.push(await handle(each));
    return { results };
  }
  try {
    return await operations[command.op](command);
  } catch (error) {
    if (error.code && error.constructor.code === error.code) return { error: error.code };
    return { crash: String(error.stack ?? error) };
  }
}
