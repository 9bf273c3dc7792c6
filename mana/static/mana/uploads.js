import { ManaError } from "./errors.js";

/**
 * Upload a file, with progress. Send the `id` of the answer in the `attachments` of a message.
 *
 * @param {import("./rest.js").Rest} rest
 * @param {Blob} file a File, or a Blob with `name` given
 * @param {{name?: string, onProgress?: (share: number) => void, signal?: AbortSignal}} [options] share: 0 to 1
 * @returns {Promise<{id: string, name: string, content_type: string, size: number, width: ?number, height: ?number,
 *   thumbnail: boolean, url: string, thumbnail_url: ?string}>}
 * @throws {ManaError} with the server's `code`; `network`, or `aborted`
 */
export async function upload(rest, file, { name = file.name ?? "file", onProgress, signal } = {}) {
  const send = async (fresh) => transfer(await rest.credentials("POST", { fresh }), rest.url("attachments"), file, name);
  // fetch() tells nothing of how far a request body has got.
  const transfer = (headers, url, body, filename) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const form = new FormData();
      form.append("file", body, filename);
      request.open("POST", url);
      for (const [header, value] of Object.entries(headers)) request.setRequestHeader(header, value);
      request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
      request.onload = () => resolve(request);
      request.onerror = () => reject(new ManaError("network", "The server could not be reached."));
      request.onabort = () => reject(new ManaError("aborted", "The upload was cancelled."));
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      if (signal?.aborted) reject(new ManaError("aborted", "The upload was cancelled."));
      else request.send(form);
    });
  let answer = await send(false);
  if (answer.status === 401 && rest.renewable) answer = await send(true);
  const data = parsed(answer.responseText);
  if (answer.status >= 200 && answer.status < 300) return data;
  throw new ManaError(data?.code || `http_${answer.status}`, data?.detail || "The upload failed.", {
    status: answer.status,
    retryAfter: Number(answer.getResponseHeader("Retry-After")) || undefined,
    fields: data,
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // an error page of a proxy in between
  }
}
