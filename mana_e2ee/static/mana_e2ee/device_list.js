// The list of a user's devices, signed by the account key. See core/device_list.py.

import { Reader, compare, concat, equal, fields, lp, name, u64, u8 } from "./encoding.js";
import { InvalidMessage, InvalidSignature } from "./errors.js";
import { ED25519, TYPED_SIZE, checkEd25519, decodeKey, encodeKey } from "./keys.js";
import { MAX_DEVICES, VERSION } from "./limits.js";
import { SIGNATURE_SIZE, importPair, label, sha256, sign, sources, verify } from "./primitives.js";
import { DeviceRecord, MAX_RECORD, checkVersion } from "./records.js";

const DEVICE_LIST_LABEL = label("device list");

/** A user's Ed25519 key; it signs device lists and nothing else. `publicKey` is raw. */
export class AccountKey {
  #privateKey;

  constructor({ privateKey, publicKey }) {
    this.#privateKey = privateKey;
    this.publicKey = publicKey;
  }

  /** A key that cannot leave this browser. To be able to back it up, draw 32 random bytes and use `fromSeed`. */
  static async generate() {
    return new AccountKey(await sources.ed25519());
  }

  static async fromSeed(seed) {
    return new AccountKey(await importPair("Ed25519", seed));
  }

  sign(data) {
    return sign(this.#privateKey, data);
  }
}

export class DeviceList {
  constructor({ user, account, epoch, previous, devices, signature = new Uint8Array() }) {
    Object.assign(this, { user, account, epoch, previous, devices, signature });
    Object.freeze(this);
  }

  static create(account, user, devices) {
    const first = { user, account: account.publicKey, epoch: 1, previous: new Uint8Array(32) };
    return new DeviceList({ ...first, devices: ordered(devices) }).signedWith(account);
  }

  async next(account, devices) {
    if (!equal(account.publicKey, this.account)) throw new InvalidSignature("another account key signed the list before");
    const follower = { ...this, epoch: this.epoch + 1, previous: await this.hash(), devices: ordered(devices) };
    return new DeviceList(follower).signedWith(account);
  }

  signed() {
    return fields(
      DEVICE_LIST_LABEL,
      name(this.user),
      encodeKey(ED25519, this.account),
      u64(this.epoch),
      this.previous,
      ...this.devices.map((device) => device.toBytes()),
    );
  }

  async signedWith(account) {
    return new DeviceList({ ...this, signature: await account.sign(this.signed()) }).verify();
  }

  hash() {
    return sha256(this.signed());
  }

  async verify() {
    if (this.epoch < 1 || (this.epoch === 1) !== equal(this.previous, new Uint8Array(32))) {
      throw new InvalidMessage("epochs count from 1, and only the first list follows none");
    }
    if (this.devices.length < 1 || this.devices.length > MAX_DEVICES) {
      throw new InvalidMessage(`a device list has 1 to ${MAX_DEVICES} devices`);
    }
    const ids = this.devices.map((device) => name(device.address.device));
    const ascending = ids.every((id, index) => index === 0 || compare(ids[index - 1], id) < 0);
    if (!ascending || this.devices.some((device) => device.address.user !== this.user)) {
      throw new InvalidMessage("the devices are not in order, or not all of the list's user");
    }
    checkEd25519(this.account);
    await verify(this.account, this.signature, this.signed());
    for (const device of this.devices) await device.verify();
    return this;
  }

  toBytes() {
    return concat(
      u8(VERSION),
      lp(name(this.user)),
      encodeKey(ED25519, this.account),
      u64(this.epoch),
      this.previous,
      u8(this.devices.length),
      ...this.devices.map((device) => lp(device.toBytes())),
      this.signature,
    );
  }

  static fromBytes(data) {
    const reader = new Reader(data);
    checkVersion(reader.u8());
    const user = reader.name();
    const account = decodeKey(ED25519, reader.take(TYPED_SIZE));
    const [epoch, previous, count] = [reader.u64(), reader.take(32), reader.u8()];
    const devices = Array.from({ length: count }, () => DeviceRecord.fromBytes(reader.lp(MAX_RECORD)));
    const signature = reader.take(SIGNATURE_SIZE);
    reader.end();
    return new DeviceList({ user, account, epoch, previous, devices, signature });
  }
}

const ordered = (devices) =>
  [...devices].sort((one, other) => compare(name(one.address.device), name(other.address.device)));
