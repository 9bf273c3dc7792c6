// Where a client keeps its secrets: in memory, or in one IndexedDB database shared by all tabs of an origin.
//
// `store.transaction(work)` runs `work(tx)` while no other transaction of the store runs, in this tab or another
// (navigator.locks), and writes everything at once when it resolves; when it rejects, nothing is written. Values are
// structured-clone objects, CryptoKeys among them, and are never changed after they were put.

class Transaction {
  constructor(read) {
    this.read = read;
    this.writes = new Map();
  }

  async get(table, key) {
    const name = `${table}/${key}`;
    if (this.writes.has(name)) return this.writes.get(name).value;
    return this.read.get(table, key);
  }

  put(table, key, value) {
    this.writes.set(`${table}/${key}`, { table, key, value });
  }

  delete(table, key) {
    this.put(table, key, undefined);
  }

  /** Every [key, value] whose key starts with `prefix`, in order. */
  async scan(table, prefix = "") {
    const rows = new Map(await this.read.scan(table, prefix));
    for (const write of this.writes.values()) {
      if (write.table !== table || !write.key.startsWith(prefix)) continue;
      if (write.value === undefined) rows.delete(write.key);
      else rows.set(write.key, write.value);
    }
    return [...rows].sort(([one], [other]) => (one < other ? -1 : 1));
  }
}

const queues = new Map();

/** Runs `work` while nobody else in this process holds `name`. */
async function exclusive(name, work) {
  const before = queues.get(name) ?? Promise.resolve();
  const turn = before.then(work);
  const done = turn.catch(() => {});
  queues.set(name, done);
  try {
    return await turn;
  } finally {
    if (queues.get(name) === done) queues.delete(name);
  }
}

let count = 0;

/** For tests, bots and short-lived clients. */
export class MemoryStore {
  #tables = new Map();
  #name = `memory ${++count}`;

  transaction(work) {
    return exclusive(this.#name, async () => {
      const tx = new Transaction({
        get: async (table, key) => this.#tables.get(table)?.get(key),
        scan: async (table, prefix) => [...(this.#tables.get(table) ?? [])].filter(([key]) => key.startsWith(prefix)),
      });
      const result = await work(tx);
      for (const { table, key, value } of tx.writes.values()) {
        if (!this.#tables.has(table)) this.#tables.set(table, new Map());
        if (value === undefined) this.#tables.get(table).delete(key);
        else this.#tables.get(table).set(key, value);
      }
      return result;
    });
  }
}

const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** One IndexedDB database. Open it with `IndexedDBStore.open(name)`. */
export class IndexedDBStore {
  #database;
  #name;
  #durability;

  constructor(database, name, durability) {
    this.#database = database;
    this.#name = name;
    this.#durability = durability;
    database.onversionchange = () => database.close();
  }

  /** `durability` is IndexedDB's: "strict" waits until the disk has it, which the protocol asks for. */
  static async open(name = "mana-e2ee", { durability = "strict" } = {}) {
    // Without locks two tabs would use one message key twice; every browser with Ed25519 in WebCrypto has them.
    if (!globalThis.navigator?.locks) throw new Error("IndexedDBStore needs navigator.locks");
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("e2ee");
    return new IndexedDBStore(await answer(request), name, durability);
  }

  transaction(work) {
    return navigator.locks.request(`mana-e2ee ${this.#name}`, async () => {
      const rows = () => this.#database.transaction("e2ee").objectStore("e2ee");
      const tx = new Transaction({
        get: (table, key) => answer(rows().get([table, key])),
        scan: async (table, prefix) => {
          const store = rows();
          const range = IDBKeyRange.bound([table, prefix], [table, `${prefix}\uffff`]);
          const [keys, values] = await Promise.all([answer(store.getAllKeys(range)), answer(store.getAll(range))]);
          return keys.map(([, key], index) => [key, values[index]]);
        },
      });
      const result = await work(tx);
      if (tx.writes.size > 0) await this.#write(tx.writes);
      return result;
    });
  }

  #write(writes) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction("e2ee", "readwrite", { durability: this.#durability });
      const store = transaction.objectStore("e2ee");
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      for (const { table, key, value } of writes.values()) {
        if (value === undefined) store.delete([table, key]);
        else store.put(value, [table, key]);
      }
    });
  }

  close() {
    this.#database.close();
  }
}
