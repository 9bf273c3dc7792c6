// Files: encrypted before they are uploaded; the pointer travels inside the message.

import { Attachment } from "../e2ee.js";
import { b64, checkedFile, unb64 } from "./contents.js";
import { ClientError } from "./errors.js";

const TRIES = 3; // new keys, when the server takes a ciphertext for a damaged picture

/**
 * @param {Blob} file a File, or a Blob with `name` given
 * @returns {Promise<object>} the attachment of a content: id, pointer, name, type, size, and of a picture its width and height
 */
export async function uploadEncrypted(client, file, { name = file.name ?? "file", onProgress, signal } = {}) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const size = await measured(file);
  for (let tries = 1; ; tries += 1) {
    const { pointer, ciphertext } = await Attachment.encrypt(bytes);
    const blob = new Blob([ciphertext], { type: "application/octet-stream" });
    try {
      const { id } = await client.upload(blob, { name: "file", onProgress, signal });
      const type = file.type || "application/octet-stream";
      return { id, pointer: b64(pointer.toBytes()), name: name.slice(0, 255), type, size: bytes.length, ...size };
    } catch (error) {
      if (error.status !== 400 || tries >= TRIES) throw error;
    }
  }
}

/** The file in the clear. Throws for one that is not what the pointer says. @returns {Promise<Blob>} */
export async function downloadDecrypted(client, file) {
  checkedFile(file);
  const url = client.rest.url(`attachments/${encodeURIComponent(file.id)}/file`);
  const response = await fetch(url, { headers: await client.rest.credentials("GET"), credentials: "same-origin" });
  if (!response.ok) throw new ClientError("not_found", "The file is not there any more.", { status: response.status });
  const ciphertext = new Uint8Array(await response.arrayBuffer());
  return new Blob([await Attachment.fromBytes(unb64(file.pointer)).decrypt(ciphertext)], { type: file.type });
}

async function measured(file) {
  if (!file.type.startsWith("image/") || !globalThis.createImageBitmap) return {};
  try {
    const { width, height } = await createImageBitmap(file);
    return { width, height };
  } catch {
    return {}; // not a picture after all
  }
}
