// What a device publishes: its record and its prekeys. See core/records.py; the bytes are the same.

import { Reader, concat, equal, fields, hex, lp, name, u32, u64, u8 } from "./encoding.js";
import { InvalidMessage, InvalidSignature, UnsupportedVersion } from "./errors.js";
import { ED25519, MLKEM768, TYPED_SIZE, X25519, checkEd25519, checkX25519, decodeKey, encodeKey } from "./keys.js";
import { VERSION } from "./limits.js";
import { KEM_PUBLIC_SIZE, SIGNATURE_SIZE, label, sign, verify } from "./primitives.js";

export const SUITE_X3DH = 1;
export const SUITE_PQXDH = 2;
export const SUITES = [SUITE_X3DH, SUITE_PQXDH];
export const MAX_RECORD = 1_024;
const MAX_SUITES = 16;
export const MAX_CLAIMS = 8 + 1 + MAX_SUITES + 2 * TYPED_SIZE + SIGNATURE_SIZE;

const RECORD_LABEL = label("device record");
const SIGNED_PREKEY_LABEL = label("signed prekey");
const KEM_PREKEY_LABEL = label("KEM prekey");

export function checkVersion(version) {
  if (version !== VERSION) throw new UnsupportedVersion(`version ${version} is not supported`);
}

/** One device of one user. */
export class Address {
  constructor(user, device) {
    this.user = user;
    this.device = device;
    Object.freeze(this);
  }

  toBytes() {
    return concat(lp(name(this.user)), lp(name(this.device)));
  }

  /** The form that stores use as a key. */
  get key() {
    return hex(this.toBytes());
  }

  equals(other) {
    return this.user === other.user && this.device === other.device;
  }

  static read(reader) {
    return new Address(reader.name(), reader.name());
  }
}

/** Who a device is. Keys are raw; `suites` ascends; `created` is in unix seconds. */
export class DeviceRecord {
  constructor({ address, signingKey, dhKey, suites, created, signature = new Uint8Array() }) {
    Object.assign(this, { address, signingKey, dhKey, suites, created, signature });
    Object.freeze(this);
  }

  signed() {
    return fields(
      RECORD_LABEL,
      name(this.address.user),
      name(this.address.device),
      encodeKey(ED25519, this.signingKey),
      encodeKey(X25519, this.dhKey),
      Uint8Array.from(this.suites),
      u64(this.created),
    );
  }

  async signedWith(privateKey) {
    return new DeviceRecord({ ...this, signature: await sign(privateKey, this.signed()) });
  }

  async verify() {
    checkEd25519(this.signingKey);
    checkX25519(this.dhKey);
    await verify(this.signingKey, this.signature, this.signed());
    return this;
  }

  identity() {
    return concat(encodeKey(ED25519, this.signingKey), encodeKey(X25519, this.dhKey));
  }

  claims() {
    const suites = Uint8Array.from(this.suites);
    return concat(u64(this.created), u8(suites.length), suites, this.identity(), this.signature);
  }

  static readClaims(address, reader) {
    const created = reader.u64();
    const count = reader.u8();
    if (count < 1 || count > MAX_SUITES) throw new InvalidMessage("a device record lists no suite, or too many");
    const suites = [...reader.take(count)];
    if (suites.some((suite, index) => index > 0 && suite <= suites[index - 1])) {
      throw new InvalidMessage("the suites of a device record are not strictly ascending");
    }
    const signingKey = decodeKey(ED25519, reader.take(TYPED_SIZE));
    const dhKey = decodeKey(X25519, reader.take(TYPED_SIZE));
    const signature = reader.take(SIGNATURE_SIZE);
    return new DeviceRecord({ address, signingKey, dhKey, suites, created, signature });
  }

  toBytes() {
    return concat(u8(VERSION), this.address.toBytes(), this.claims());
  }

  static fromBytes(data) {
    const reader = new Reader(data);
    checkVersion(reader.u8());
    const record = DeviceRecord.readClaims(Address.read(reader), reader);
    reader.end();
    return record;
  }

  /** The same device, keys, suites and time, whatever the signature. */
  sameAs(other) {
    return equal(this.signed(), other.signed());
  }
}

function prekeyId(reader) {
  const id = reader.u32();
  if (id === 0) throw new InvalidMessage("a prekey has the id 0, which means none");
  return id;
}

function signedKey(kind, prekeyLabel, size) {
  return class {
    constructor(id, publicKey, signature) {
      Object.assign(this, { id, publicKey, signature });
      Object.freeze(this);
    }

    static covered(address, id, publicKey) {
      return fields(prekeyLabel, name(address.user), name(address.device), u32(id), encodeKey(kind, publicKey));
    }

    verify(record) {
      return verify(
        record.signingKey,
        this.signature,
        this.constructor.covered(record.address, this.id, this.publicKey),
      );
    }

    toBytes() {
      return concat(u32(this.id), encodeKey(kind, this.publicKey), this.signature);
    }

    static fromBytes(data) {
      const reader = new Reader(data);
      const key = new this(prekeyId(reader), decodeKey(kind, reader.take(size)), reader.take(SIGNATURE_SIZE));
      reader.end();
      return key;
    }
  };
}

/** An X25519 prekey signed by its device. */
export class SignedPreKey extends signedKey(X25519, SIGNED_PREKEY_LABEL, TYPED_SIZE) {}

/** An ML-KEM-768 key signed by its device. */
export class KemPreKey extends signedKey(MLKEM768, KEM_PREKEY_LABEL, KEM_PUBLIC_SIZE + 1) {}

/** An X25519 prekey for one handshake, unsigned. */
export class OneTimePreKey {
  constructor(id, publicKey) {
    Object.assign(this, { id, publicKey });
    Object.freeze(this);
  }

  toBytes() {
    return concat(u32(this.id), encodeKey(X25519, this.publicKey));
  }

  static fromBytes(data) {
    const reader = new Reader(data);
    const key = new OneTimePreKey(prekeyId(reader), decodeKey(X25519, reader.take(TYPED_SIZE)));
    reader.end();
    return key;
  }
}

/** What a claim answers: all that one handshake needs. `kemPrekey` and `oneTime` may be null. */
export class PreKeyBundle {
  constructor(record, signedPrekey, kemPrekey, oneTime) {
    Object.assign(this, { record, signedPrekey, kemPrekey, oneTime });
    Object.freeze(this);
  }

  async verify() {
    await this.record.verify();
    checkX25519(this.signedPrekey.publicKey);
    await this.signedPrekey.verify(this.record);
    await this.kemPrekey?.verify(this.record);
    if (this.oneTime) checkX25519(this.oneTime.publicKey);
  }

  toBytes() {
    const none = new Uint8Array();
    return concat(
      u8(VERSION),
      lp(this.record.toBytes()),
      lp(this.signedPrekey.toBytes()),
      lp(this.kemPrekey?.toBytes() ?? none),
      lp(this.oneTime?.toBytes() ?? none),
    );
  }

  static fromBytes(data) {
    const reader = new Reader(data);
    checkVersion(reader.u8());
    const record = DeviceRecord.fromBytes(reader.lp(MAX_RECORD));
    const signedPrekey = SignedPreKey.fromBytes(reader.lp(MAX_RECORD));
    const kem = reader.lp(2 * MAX_RECORD);
    const oneTime = reader.lp(MAX_RECORD);
    reader.end();
    return new PreKeyBundle(
      record,
      signedPrekey,
      kem.length ? KemPreKey.fromBytes(kem) : null,
      oneTime.length ? OneTimePreKey.fromBytes(oneTime) : null,
    );
  }
}

/** What a device uploads; the one-time prekeys are new ones, to be added to those already there. */
export class Publication {
  constructor(record, signedPrekey, kemPrekey, oneTime) {
    Object.assign(this, { record, signedPrekey, kemPrekey, oneTime });
    Object.freeze(this);
  }

  async verify() {
    await this.bundle(null).verify();
    if (new Set(this.oneTime.map((key) => key.id)).size !== this.oneTime.length) {
      throw new InvalidSignature("two one-time prekeys have the same id");
    }
  }

  bundle(oneTime) {
    return new PreKeyBundle(this.record, this.signedPrekey, this.kemPrekey, oneTime);
  }
}
