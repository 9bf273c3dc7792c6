/**
 * The transport of a call's keys (mana_rtc/encryption.js) on the core of end-to-end encryption, for the lab: people meet
 * by handing each other a bundle, and there is one device each.
 */
import * as e2ee from "../mana_e2ee/e2ee.js";
import { hex, unhex } from "../mana_e2ee/encoding.js";

const DEVICE = "lab";

export class LabKeys {
  #store = new e2ee.MemoryStore();
  #met = new Set();
  #device;

  async make(userId) {
    this.#device = await e2ee.Device.generate(this.#store, new e2ee.Address(userId, DEVICE));
    return this;
  }

  /** @returns {Promise<string>} for one other person */
  async bundle() {
    const publication = await this.#device.publishBundle({ oneTime: 1 });
    return hex(publication.bundle(publication.oneTime[0]).toBytes());
  }

  async meet(userId, bundle) {
    await e2ee.processPrekeyBundle(this.#store, new e2ee.Address(userId, DEVICE), e2ee.PreKeyBundle.fromBytes(unhex(bundle)));
    this.#met.add(userId);
  }

  async seal(userIds, object) {
    const known = userIds.filter((id) => this.#met.has(id));
    const text = new TextEncoder().encode(JSON.stringify(object));
    const messages = await e2ee.encryptMany(this.#store, known.map((id) => new e2ee.Address(id, DEVICE)), text);
    return Object.fromEntries(known.map((id, at) => [id, { [DEVICE]: hex(messages[at]) }]));
  }

  async open({ from, sealed }) {
    const { plaintext } = await e2ee.decrypt(this.#store, new e2ee.Address(from, DEVICE), unhex(sealed[DEVICE]));
    return JSON.parse(new TextDecoder().decode(plaintext));
  }
}
