// Files: encrypted under a random key of their own; the pointer travels inside a message. See core/attachment.py.

import { collect, openChunks, sealChunks } from "./chunks.js";
import { Reader, concat, copyBytes, equal, u64, u8 } from "./encoding.js";
import { InvalidMessage } from "./errors.js";
import { VERSION } from "./limits.js";
import { label, sha256, sources } from "./primitives.js";
import { checkVersion } from "./records.js";

const ATTACHMENT_LABEL = label("attachment");

/** The pointer: all that is needed to read the file. As secret as the file. */
export class Attachment {
  constructor(key, size, digest) {
    Object.assign(this, { key, size, digest });
    Object.freeze(this);
  }

  /** {pointer, ciphertext}. WebCrypto hashes in one piece only, so the ciphertext is held in memory. */
  static async encrypt(plaintext) {
    const key = sources.randomBytes(32);
    const bytes = copyBytes(plaintext);
    const ciphertext = await collect(sealChunks(key, [bytes], ATTACHMENT_LABEL));
    return { pointer: new Attachment(key, bytes.length, await sha256(ciphertext)), ciphertext };
  }

  /** The file. Throws InvalidMessage when a byte is changed, missing or added. */
  async decrypt(ciphertext) {
    const bytes = copyBytes(ciphertext);
    if (!equal(await sha256(bytes), this.digest)) {
      throw new InvalidMessage("the file is not the one that the pointer describes");
    }
    const plaintext = await collect(openChunks(this.key, [bytes], ATTACHMENT_LABEL));
    if (plaintext.length !== this.size) throw new InvalidMessage("the file has another size");
    return plaintext;
  }

  toBytes() {
    return concat(u8(VERSION), this.key, u64(this.size), this.digest);
  }

  static fromBytes(data) {
    const reader = new Reader(data);
    checkVersion(reader.u8());
    const pointer = new Attachment(reader.take(32), reader.u64(), reader.take(32));
    reader.end();
    return pointer;
  }
}
