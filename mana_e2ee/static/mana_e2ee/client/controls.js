// Control messages: from device to device, no message of a room. As many devices in a frame as fit.

import { encryptMany } from "../e2ee.js";
import { hex } from "../encoding.js";
import { sha256 } from "../primitives.js";
import { b64, encode } from "./contents.js";

const LARGEST_FRAME = 65_536; // bytes, until the welcome says otherwise
export const ROOM_LEFT = 2_000; // bytes of a frame for everything but ciphertext

export class Controls {
  #context;
  #directory;

  constructor(context, directory) {
    this.#context = context;
    this.#directory = directory;
  }

  /** Bytes of ciphertext, as base64, that a frame may have. */
  get most() {
    return (this.#context.client.welcome?.limits?.max_message_size ?? LARGEST_FRAME) - ROOM_LEFT;
  }

  /** Encrypt a control message for devices, remember it for retries, and send it. */
  async send(plaintext, addresses, { room } = {}) {
    const { store, vault, address: own } = this.#context;
    const chosen = addresses.filter((address) => !address.equals(own));
    if (!chosen.length) return;
    await this.#directory.sessions(chosen);
    const messages = await encryptMany(store, chosen, encode(plaintext));
    const at = Date.now();
    const hashes = await Promise.all(messages.map(sha256));
    await vault.transaction(async (rows) => {
      for (const [index, address] of chosen.entries())
        await rows.remember(address.key, hex(hashes[index]), { control: plaintext, room }, at);
    });
    await this.deliver(chosen.map((address, index) => [address, messages[index]]), { room });
  }

  /** Send bytes to devices. @param {[Address, Uint8Array][]} messages @param {{room?: string}} where */
  async deliver(messages, { room } = {}) {
    const byUser = new Map();
    for (const pair of messages) {
      const key = room === undefined ? pair[0].user : "";
      byUser.set(key, [...(byUser.get(key) ?? []), pair]);
    }
    for (const [user, pairs] of byUser) {
      for (let waiting = pairs; waiting.length; ) {
        let size = 0;
        const fits = waiting.findIndex(([, bytes], index) => (size += bytes.length * 1.34 + 350) > this.most && index > 0);
        const now = fits < 0 ? waiting : waiting.slice(0, fits);
        waiting = fits < 0 ? [] : waiting.slice(fits);
        await this.#frame(now, room === undefined ? { to: user } : { room_id: room });
      }
    }
  }

  async #frame(pairs, where) {
    for (let tries = 0; pairs.length && tries < 2; tries += 1) {
      const payloads = {};
      for (const [{ user, device }, bytes] of pairs) (payloads[user] ??= {})[device] = b64(bytes);
      try {
        await this.#context.client.request({ type: "encrypted_fanout", control: true, payloads, ...where });
        return;
      } catch (error) {
        if (error.code !== "stale_device_list") throw error;
        const gone = new Set((error.details?.extra ?? []).map((one) => `${one.user_id} ${one.device_id}`));
        pairs = pairs.filter(([{ user, device }]) => !gone.has(`${user} ${device}`)); // whoever is gone gets nothing
      }
    }
  }
}
