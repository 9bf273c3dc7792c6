// An opt-in backup under a recovery key that only the user has. See core/backup.py.

import { collect, openChunks, sealChunks } from "./chunks.js";
import { Reader, concat, equal, u8 } from "./encoding.js";
import { BACKUP } from "./envelope.js";
import { InvalidKey, InvalidMessage } from "./errors.js";
import { VERSION } from "./limits.js";
import { hkdf, label, sha256, sources } from "./primitives.js";
import { checkVersion } from "./records.js";

const BACKUP_LABEL = label("backup");
const RECOVERY_LABEL = label("recovery key");
const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";

const check = async (key) => (await sha256(concat(RECOVERY_LABEL, key))).slice(0, 3);

/** 32 random bytes, shown as 14 groups of four base32 letters with a checksum. */
export class RecoveryKey {
  #key;

  constructor(key) {
    this.#key = key;
  }

  static generate() {
    return new RecoveryKey(sources.randomBytes(32));
  }

  get key() {
    return this.#key;
  }

  async text() {
    const data = concat(this.#key, await check(this.#key));
    const bits = Array.from(data, (byte) => byte.toString(2).padStart(8, "0")).join("");
    const letters = bits.match(/.{5}/g).map((five) => LETTERS[parseInt(five, 2)]);
    return letters.join("").match(/.{4}/g).join("-");
  }

  /** Case, spaces and dashes do not matter. Throws InvalidKey on anything mistyped. */
  static async fromText(text) {
    // ASCII only: toLowerCase turns some other letters into ASCII ones, not the same in every language.
    if (typeof text !== "string" || /[^\0-\x7f]/.test(text)) throw new InvalidKey("the recovery key is mistyped");
    const letters = text.toLowerCase().replace(/[\s-]/g, "");
    if (!/^[a-z2-7]{56}$/.test(letters)) throw new InvalidKey("the recovery key is mistyped");
    const bits = Array.from(letters, (letter) => LETTERS.indexOf(letter).toString(2).padStart(5, "0")).join("");
    const data = Uint8Array.from(bits.match(/.{8}/g), (byte) => parseInt(byte, 2));
    const key = data.slice(0, 32);
    if (!equal(data.slice(32), await check(key))) throw new InvalidKey("the recovery key is mistyped");
    return new RecoveryKey(key);
  }
}

const derive = (recovery, salt) => hkdf(recovery.key, { salt, info: BACKUP_LABEL, length: 32 });

export const Backup = {
  async seal(recovery, plaintext) {
    const salt = sources.randomBytes(32);
    const sealed = await collect(sealChunks(await derive(recovery, salt), [plaintext], BACKUP_LABEL));
    return concat(u8(VERSION), u8(BACKUP), salt, sealed);
  },

  /** The plaintext. Throws InvalidMessage on another key or any changed byte. */
  async open(recovery, backup) {
    const reader = new Reader(backup);
    checkVersion(reader.u8());
    if (reader.u8() !== BACKUP) throw new InvalidMessage("not a backup");
    const key = await derive(recovery, reader.take(32));
    return collect(openChunks(key, [reader.rest()], BACKUP_LABEL));
  },
};
