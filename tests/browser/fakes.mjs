// A clock that only moves when told, a storage, and a server at the other end of a fake WebSocket.
import { ManaClient } from "../../mana/static/mana/mana.js";

export class FakeClock {
  #now = Date.parse("2026-01-01T00:00:00Z");
  #timers = new Map();
  #next = 1;

  now = () => this.#now;

  setTimeout = (run, ms) => {
    this.#timers.set(this.#next, { at: this.#now + ms, run });
    return this.#next++;
  };

  clearTimeout = (id) => void this.#timers.delete(id);

  /** Let `ms` pass; timers fire in order, promises settle in between. */
  async pass(ms) {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

export class FakeStorage {
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  key(index) {
    return [...this.#items.keys()][index] ?? null;
  }

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, String(value));
  }

  removeItem(key) {
    this.#items.delete(key);
  }

  keys(part = "") {
    return [...this.#items.keys()].filter((key) => key.includes(part));
  }
}

/** The server's side of each socket that the client opens. */
export class FakeServer {
  sockets = [];

  constructor() {
    const server = this;
    this.WebSocket = class {
      readyState = 1;
      sent = [];

      constructor(url, protocols) {
        Object.assign(this, { url: new URL(url), protocols });
        server.sockets.push(this);
      }

      send(text) {
        this.sent.push(JSON.parse(text));
      }

      close() {
        this.readyState = 3;
        this.closedByClient = true;
      }

      /** One frame, or several as one array. */
      deliver(...frames) {
        this.onmessage?.({ data: JSON.stringify(frames.length === 1 ? frames[0] : frames) });
      }

      /** The server, or the network, ends it. */
      drop(code = 1006) {
        this.readyState = 3;
        this.onclose?.({ code, reason: "" });
      }

      of(type) {
        return this.sent.filter((frame) => frame.type === type);
      }

      last(type) {
        return this.of(type).at(-1);
      }
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }
}

export async function settle() {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
}

let session = 0;

export function welcome(fields = {}) {
  session += 1;
  return {
    ...{
      type: "welcome",
      session_id: `s${session}`,
      user_id: "1",
      username: "anna",
      device_id: "d",
      protocol: "mana.v1",
    },
    ...{ latest_sequence: 0, limits: { max_message_size: 65536, max_in_flight: 8 }, features: [] },
    ...fields,
  };
}

export function message(sequence, fields = {}) {
  return {
    ...{ type: "message", id: `m${sequence}`, sequence, index: sequence, room_id: "r", from: "2", username: "bob" },
    ...{ payload: { text: `text ${sequence}` }, timestamp: "2026-01-01T00:00:00Z" },
    ...fields,
  };
}

export function ackOf(frame, sequence, fields = {}) {
  const id = `m${sequence}`;
  return {
    type: "ack",
    ack_id: frame.ack_id,
    message_id: id,
    msg_id: id,
    sequence,
    index: sequence,
    room_id: "r",
    ...fields,
  };
}

/** A client with its world, and a record of its events. */
export function setUp(options = {}) {
  const clock = options.clock ?? new FakeClock();
  const server = new FakeServer();
  const storage = options.storage ?? new FakeStorage();
  const window = options.window ?? new EventTarget();
  const document = options.document ?? Object.assign(new EventTarget(), { visibilityState: "visible" });
  const client = new ManaClient({
    ...{ url: "ws://test/ws", api: "http://test/api/", random: () => 1, WebSocket: server.WebSocket },
    ...{ clock, storage, window, document, ...options },
  });
  const seen = [];
  for (const type of ["message", "room", "reset", "unauthenticated", "typing", "error"]) {
    client.on(type, (detail) => seen.push({ event: type, ...detail }));
  }
  const states = [];
  client.on("state", ({ state }) => states.push(state));
  const world = { clock, server, storage, window, document, client, seen, states };
  world.sequences = () => seen.filter((event) => event.event === "message").map((event) => event.sequence);
  /** Connect (or wait for the reconnect) and answer the sync with nothing. */
  world.goOnline = async (fields = {}, cursor = undefined) => {
    if (client.state === "closed") client.connect({ cursor });
    await settle();
    server.socket.deliver(welcome(fields));
    await settle();
    const latest = fields.latest_sequence ?? 0;
    world.answerSync({ cursor: latest });
    await settle();
  };
  world.answerSync = ({ messages = [], cursor = messages.at(-1)?.sequence ?? 0, has_more = false }) =>
    server.socket.deliver({ type: "message_sync", cursor, has_more, messages, reason: "sync" });
  return world;
}
