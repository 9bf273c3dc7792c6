// Devices with EncryptedClients in one process, and a server between them that does what it is told, or lies.
import { EncryptedClient } from "../../mana_e2ee/static/mana_e2ee/client.js";
import { encode } from "../../mana_e2ee/static/mana_e2ee/client/contents.js";
import { DeviceList, MemoryStore, encrypt } from "../../mana_e2ee/static/mana_e2ee/e2ee.js";
import { Address } from "../../mana_e2ee/static/mana_e2ee/records.js";

const notFound = () => Object.assign(new Error("not found"), { status: 404, code: "not_found" });

/** Waits for an event of a client's; one that has come already counts. */
export function happened({ encrypted }, type) {
  const before = encrypted.seen.findLast((event) => event.type === type);
  if (before) return before;
  return new Promise((resolve) => encrypted.on(type, (detail) => resolve({ type, ...detail })));
}

export class World {
  users = new Map(); // id -> {devices: Map(id -> keys), lists: [base64]}
  rooms = new Map(); // id -> {room_type, members}
  clients = new Map(); // "user device" -> FakeClient
  sequence = 0;
  /** What of the answers is lost on the way, after the server has done what it was asked for. */
  loses = () => false;
  /** What the server says in place of the truth: (answer, parts, client) -> answer. */
  lies = (answer) => answer;

  user(id) {
    if (!this.users.has(id)) this.users.set(id, { devices: new Map(), lists: [] });
    return this.users.get(id);
  }

  /** The devices of a user that are in their list, and have keys. */
  listed(id) {
    const { devices, lists } = this.user(id);
    if (!lists.length) return [];
    const records = DeviceList.fromBytes(Buffer.from(lists.at(-1), "base64")).devices;
    return records.map(({ address }) => address.device).filter((device) => devices.has(device));
  }

  room(id, room_type, ...members) {
    this.rooms.set(id, { room_type, members });
    return id;
  }

  /** A device that is online and has published its keys. */
  async device(userId, deviceId = "one", options = {}) {
    const client = new FakeClient(this, userId, deviceId);
    const encrypted = new EncryptedClient(client, { ...options, store: (client.store = options.store ?? new MemoryStore()) });
    this.clients.set(`${userId} ${deviceId}`, client);
    client.encrypted = encrypted;
    encrypted.seen = [];
    for (const type of ["opened", "account_changed", "list_refused", "devices_changed", "undecryptable", "linked", "app", "backup", "error"])
      encrypted.on(type, (detail) => encrypted.seen.push({ type, ...detail }));
    await encrypted.start();
    await client.connected();
    return client;
  }

  rest(client, method, path, { body, query } = {}) {
    const parts = path.split("/").map(decodeURIComponent);
    const own = this.user(client.userId);
    const answer = this.lies(structuredClone(this.#answer(client, own, method, parts, body, query) ?? null), parts, client);
    if (this.loses(method, path)) throw Object.assign(new Error("the connection is gone"), { code: "unreachable" });
    return answer;
  }

  #answer(client, own, method, [root, kind, id, what], body, query) {
    if (root === "rooms") {
      const { room_type, members } = this.rooms.get(kind);
      if (id === "members") return { results: members.map((user_id) => ({ user_id })), next: null };
      const peer = members.find((one) => one !== client.userId);
      return { room_type, peer: room_type === "direct" ? { user_id: peer } : undefined };
    }
    if (kind === "devices" && method === "GET" && id === undefined)
      return [...own.devices].map(([device_id, { one_time, signed_prekey }]) => ({
        ...{ device_id, one_time_remaining: one_time.length, signed_prekey_id: Buffer.from(signed_prekey, "base64").readUInt32BE() },
      }));
    if (kind === "devices" && what === "envelopes") return { messages: own.waiting ?? [], has_more: false };
    if (kind === "devices" && what === "acks") return void (own.waiting = own.waiting.filter((frame) => !body.message_ids.includes(frame.id)));
    if (kind === "devices" && method === "PUT")
      return void own.devices.set(id, { ...body, one_time: [...(own.devices.get(id)?.one_time ?? []), ...body.one_time] });
    if (kind === "backup" && method === "PUT") return void (own.backup = body.backup);
    if (kind === "backup" && method === "DELETE") return void delete own.backup;
    if (kind === "backup" && own.backup) return { backup: own.backup };
    if (kind === "devices" && method === "DELETE") return void own.devices.delete(id);
    if (kind === "devices" && what === "prekeys") return void own.devices.get(id).one_time.push(...body.one_time);
    if (kind === "device-list" && method === "DELETE") return void own.lists.splice(0);
    if (kind === "device-list") return void own.lists.push(body.device_list);
    if (kind === "users") {
      const { lists } = this.user(id);
      const since = query?.since ?? 0;
      return { results: (since ? lists.slice(since) : lists.slice(-1)).map((device_list) => ({ device_list })) };
    }
    if (kind === "bundles") {
      const { devices, lists } = this.user(id);
      const known = id === client.userId ? [...devices.keys()] : this.listed(id);
      const wanted = [...devices].filter(([device]) => known.includes(device) && (!body.device_id || device === body.device_id) && device !== body.own_device_id);
      const bundles = wanted.map(([device_id, keys]) => ({ device_id, bundle: bundleOf(keys) }));
      return { bundles, epoch: lists.length, device_list: lists.at(-1) };
    }
    if (kind === "rooms") {
      const { members } = this.rooms.get(id);
      const known = members.filter((one) => this.user(one).lists.length);
      return { results: known.map((one) => ({ user_id: one, epoch: this.user(one).lists.length, device_ids: this.listed(one) })) };
    }
    throw notFound();
  }

  /** Give a frame to a device, as if it had come over the socket. @returns {Promise<?object>} what the page is told */
  deliver(userId, deviceId, frame) {
    return this.clients.get(`${userId} ${deviceId}`)?.cipher.open(frame);
  }

  frame(type, from, fields) {
    this.sequence += 1;
    const base = { type, id: `e${this.sequence}`, sequence: this.sequence, index: this.sequence, timestamp: new Date().toISOString() };
    return { ...base, from: from.userId, device_id: from.deviceId, encrypted: type === "message", ...fields };
  }
}

class FakeClient extends EventTarget {
  welcome = { limits: { max_message_size: 65_536 } };
  state = "online";
  told = [];

  constructor(world, userId, deviceId) {
    super();
    Object.assign(this, { world, userId, deviceId });
    const call = (method) => async (path, given) => world.rest(this, method, path, method === "GET" ? { query: given } : { body: given });
    this.rest = { get: call("GET"), post: call("POST"), put: call("PUT"), delete: call("DELETE") };
  }

  use(cipher) {
    this.cipher = cipher;
  }

  on(type, listener) {
    this.addEventListener(type, (event) => listener(event.detail));
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  signal() {
    return true;
  }

  /** As after a connect: the client looks at its keys, and says what has become of them. */
  async connected() {
    const settled = new Promise((resolve) => {
      this.encrypted.on("status", resolve);
      this.encrypted.on("settled", resolve);
    });
    this.emit("sync", { phase: "done" });
    await settled;
  }

  /** A control message of any kind to a device. */
  async control(user, device, said, { room_id } = {}) {
    const store = this.store;
    const address = new Address(user, device);
    const payload = Buffer.from(await encrypt(store, address, encode({ v: 1, ...said }))).toString("base64");
    return this.world.deliver(user, device, this.world.frame("encrypted", this, { room_id, payload, index: undefined }));
  }

  async upload() {
    return { id: crypto.randomUUID() };
  }

  /** A control message. Whoever answers does so at once, so it is handed over later, as a network does. */
  async request({ payloads, room_id }) {
    for (const [user, devices] of Object.entries(payloads))
      for (const [device, payload] of Object.entries(devices)) {
        const frame = this.world.frame("encrypted", this, { room_id, payload, index: undefined });
        this.world.waiting = Promise.resolve(this.world.waiting).then(() => this.world.deliver(user, device, frame));
      }
    return { type: "ack" };
  }

  send(outgoing) {
    return { ...outgoing, acked: Promise.resolve() };
  }

  /** Seal a text, and hand it to every device. @returns {Promise<{frame: object, told: object[]}>} */
  async say(room_id, text, { except = [] } = {}) {
    const outgoing = { ack_id: crypto.randomUUID().replaceAll("-", ""), room_id, payload: { kind: "text", text }, sealed: true };
    const sealed = await this.cipher.seal(outgoing);
    await this.world.waiting;
    const { id, sequence, index, timestamp } = this.world.frame("message", this, {});
    const place = { id, sequence, index, timestamp };
    this.emit("outgoing", { ...outgoing, status: "sent", ack: { ...place, message_id: id, room_id } });
    const told = {};
    for (const user of this.world.rooms.get(room_id).members)
      for (const device of this.world.user(user).devices.keys()) {
        const payload = sealed.payload ?? sealed.payloads?.[user]?.[device];
        if (!payload || except.includes(user) || (user === this.userId && device === this.deviceId)) continue;
        const frame = { ...this.world.frame("message", this, { room_id, payload }), ...place };
        told[user] = await this.world.deliver(user, device, frame);
      }
    return { outgoing, sealed, told, place };
  }
}

/** A bundle's bytes, from an upload. */
function bundleOf({ record, signed_prekey, kem_prekey, one_time }) {
  const fields = [record, signed_prekey, kem_prekey, one_time.shift() ?? ""].map((text) => Buffer.from(text ?? "", "base64"));
  const sized = fields.flatMap((field) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(field.length);
    return [size, field];
  });
  return Buffer.concat([Buffer.from([1]), ...sized]).toString("base64");
}
