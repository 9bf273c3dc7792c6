// What is known of rooms: direct or group, who the other one is, whether it is encrypted for ever.

import { ClientError } from "./errors.js";

export class Rooms {
  #context;
  #rosters;
  #directory;
  #sealed = new Map(); // room id -> the other one of a direct room: where nothing goes out in the clear

  constructor(context, directory, rosters) {
    this.#context = context;
    this.#directory = directory;
    this.#rosters = rosters;
  }

  /** {direct, peer}, as the server said it the first time. */
  async info(room) {
    const known = await this.#context.vault.get("room", room);
    if (known?.kind) return known;
    const { room_type, peer } = await this.#context.rest.get(`rooms/${encodeURIComponent(room)}`);
    const info = { ...known, kind: room_type, peer: peer ? String(peer.user_id) : undefined };
    await this.#context.vault.put("room", room, info);
    return info;
  }

  /** What earlier pages have found out. */
  async load() {
    for (const [room, { encrypted, peer }] of await this.#context.vault.scan("room")) if (encrypted) this.#sealed.set(room, peer);
  }

  /** Whether something may go out in the clear. @param {{room_id?: string, to?: string}} where */
  allows({ room_id: room, to }) {
    return room === undefined ? ![...this.#sealed.values()].includes(String(to)) : !this.#sealed.has(room);
  }

  log(room) {
    return this.#rosters.log(room);
  }

  async isEncrypted(room) {
    return Boolean((await this.#context.vault.get("room", room))?.encrypted);
  }

  /** One encrypted content was sent or accepted: there is no way back to the clear. */
  async encrypted(room) {
    await this.#context.vault.transaction(async (rows) => {
      const known = await rows.get("room", room);
      if (!known?.encrypted) rows.put("room", room, { ...known, encrypted: true });
      this.#sealed.set(room, known?.peer);
    });
  }

  /**
   * Whom a message is for, after everything has been looked at. Throws ClientError.
   * @returns {Promise<{direct: boolean, log: ?MembershipLog, users: string[], addresses: Address[], epochs: object}>}
   */
  async audience(room) {
    const { address } = this.#context;
    const { kind, peer } = await this.info(room);
    const direct = kind === "direct";
    const log = direct ? null : await this.#rosters.ready(room);
    const belongs = (user) => (direct ? user === address.user || user === peer : log.members.has(user));
    const recipients = await this.#directory.recipients(room);
    const strangers = recipients.filter(({ user }) => !belongs(user)).map(({ user }) => user);
    if (strangers.length)
      throw new ClientError("unknown_member", "The server names people who do not belong here.", { users: strangers });
    const epochs = {};
    const addresses = [];
    for (const { user, epoch, devices } of recipients) {
      await this.#directory.refresh(user, epoch);
      const list = await this.#directory.current(user);
      const lacking = devices.some((one) => !list?.devices.some((record) => record.address.equals(one)));
      if (lacking) {
        // Ours may be ahead of what the server said when it was asked.
        if (list && list.epoch > epoch) throw new ClientError("stale_device_list", "The devices have changed.");
        throw new ClientError("list_refused", "The server names a device that is in nobody's list.", { userId: user });
      }
      epochs[user] = list.epoch;
      addresses.push(...devices.filter((one) => !one.equals(address)));
    }
    if (!recipients.some(({ user }) => user !== address.user) && !(direct && peer === address.user))
      throw new ClientError("no_devices", "Nobody here has a device that can read encrypted messages.");
    return { direct, peer, log, users: recipients.map(({ user }) => user), addresses, epochs };
  }
}
