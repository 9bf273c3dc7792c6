// The code that a new device shows, as text and QR. docs/e2ee-clients.md, "Linking a device".

import { concat, equal, fields } from "../encoding.js";
import { ED25519, encodeKey } from "../keys.js";
import { hmacs, label, sha256, sources } from "../primitives.js";
import { ClientError } from "./errors.js";

const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const CODE = label("link code");
const PROOF = label("link");
const QR = "mana-link:";

export class LinkCode {
  constructor(hash, secret) {
    Object.assign(this, { hash, secret });
    Object.freeze(this);
  }

  static async make(record) {
    return new LinkCode(await recordHash(record), sources.randomBytes(16));
  }

  /** 14 groups of four letters. */
  async text() {
    const code = concat(this.hash, this.secret);
    const data = concat(code, await check(code));
    const bits = Array.from(data, (byte) => byte.toString(2).padStart(8, "0")).join("");
    const letters = bits.match(/.{5}/g).map((five) => LETTERS[parseInt(five, 2)]);
    return letters.join("").match(/.{4}/g).join("-");
  }

  /** What the QR code holds. */
  async qr() {
    return QR + (await this.text()).replaceAll("-", "");
  }

  /** From the text or the QR code. Throws ClientError `code_wrong`. */
  static async fromText(text) {
    const letters = String(text).trim().replace(QR, "").toLowerCase().replace(/[\s-]/g, "");
    if (!/^[a-z2-7]{56}$/.test(letters)) throw wrong();
    const bits = Array.from(letters, (letter) => LETTERS.indexOf(letter).toString(2).padStart(5, "0")).join("");
    const data = Uint8Array.from(bits.match(/.{8}/g), (byte) => parseInt(byte, 2));
    if (!equal(data.slice(32), await check(data.slice(0, 32)))) throw wrong();
    return new LinkCode(data.slice(0, 16), data.slice(16, 32));
  }

  /** What only who has seen the code can make. @param {Uint8Array} account raw */
  async proof(account, old, fresh) {
    const said = fields(PROOF, encodeKey(ED25519, account), old.toBytes(), fresh.toBytes());
    return (await hmacs(this.secret, said))[0];
  }
}

const wrong = () => new ClientError("code_wrong", "The code is mistyped.");
const check = async (code) => (await sha256(concat(CODE, code))).slice(0, 3);

export const recordHash = async (record) => (await sha256(record.toBytes())).slice(0, 16);
