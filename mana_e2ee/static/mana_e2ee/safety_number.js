// Safety numbers: Signal's numeric fingerprint. See core/safety_number.py.

import { checkBytes, concat, equal, hex, name, unhex } from "./encoding.js";
import { InvalidMessage } from "./errors.js";
import { ED25519, encodeKey } from "./keys.js";
import { sha512 } from "./primitives.js";

const ITERATIONS = 5_200;
const BEFORE_LOCAL = unhex("080112220a20");
const BEFORE_REMOTE = unhex("1a220a20");

export class SafetyNumber {
  constructor(local, remote) {
    Object.assign(this, { local, remote });
    Object.freeze(this);
  }

  /** From encoded keys (type byte first). */
  static async ofKeys(localId, localKey, remoteId, remoteKey) {
    return new SafetyNumber(await fingerprint(localId, localKey), await fingerprint(remoteId, remoteKey));
  }

  /** From the raw account keys of two users. */
  static ofAccounts(localUser, localAccount, remoteUser, remoteAccount) {
    const [local, remote] = [localAccount, remoteAccount].map((key) => encodeKey(ED25519, key));
    return SafetyNumber.ofKeys(localUser, local, remoteUser, remote);
  }

  /** 60 digits, the same on both sides. */
  get digits() {
    return [digits(this.local), digits(this.remote)].sort().join("");
  }

  /** The digits in twelve groups of five. */
  get display() {
    return this.digits.match(/.{5}/g).join(" ");
  }

  /** The payload of the QR code, 74 bytes. */
  get qr() {
    return concat(BEFORE_LOCAL, this.local, BEFORE_REMOTE, this.remote);
  }

  /** Whether the other side's code mirrors ours. Throws InvalidMessage when it is no such code. */
  matchesQr(scanned) {
    const frame = concat(checkBytes(scanned).subarray(0, 6), scanned.subarray(38, 42));
    if (scanned.length !== 74 || hex(frame) !== hex(concat(BEFORE_LOCAL, BEFORE_REMOTE))) {
      throw new InvalidMessage("not a safety number's code of version 1");
    }
    return equal(concat(scanned.subarray(6, 38), scanned.subarray(42)), concat(this.remote, this.local));
  }
}

async function fingerprint(identifier, key) {
  let digest = concat(Uint8Array.of(0, 0), key, name(identifier));
  for (let round = 0; round < ITERATIONS; round++) digest = await sha512(concat(digest, key));
  return digest.slice(0, 32);
}

function digits(print) {
  let text = "";
  for (let start = 0; start < 30; start += 5) {
    const chunk = print.subarray(start, start + 5).reduce((value, byte) => value * 256 + byte, 0);
    text += String(chunk % 100_000).padStart(5, "0");
  }
  return text;
}
