import { ManaError } from "./errors.js";

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

/** Calls to the REST API with the page's session (and its CSRF token) or with a bearer token. */
export class Rest {
  #base;
  #fetch;
  #token;
  #csrf;

  /**
   * @param {{base: string, fetch?: Function, token?: (options: {fresh: boolean}) => Promise<string>,
   *   csrf?: () => string}} options
   */
  constructor({ base, fetch, token, csrf }) {
    this.#base = base.replace(/\/?$/, "/");
    this.#fetch = fetch ?? ((...args) => globalThis.fetch(...args));
    this.#token = token;
    this.#csrf = csrf ?? (() => cookie("csrftoken"));
  }

  /** @param {string} path below the API's root, or the absolute `next` of an answer */
  get(path, query) {
    return this.request("GET", path, { query });
  }

  post(path, body) {
    return this.request("POST", path, { body });
  }

  patch(path, body) {
    return this.request("PATCH", path, { body });
  }

  /** @param {*} body anything JSON can write, or a FormData with a file in it */
  put(path, body) {
    return this.request("PUT", path, { body });
  }

  delete(path, query) {
    return this.request("DELETE", path, { query });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{body?: *, query?: object, signal?: AbortSignal}} [options]
   * @returns {Promise<*>} the decoded body, null when there is none
   * @throws {ManaError} with the server's `code`, `status` and the body as `fields`; `network` when it was not reached
   */
  async request(method, path, { body, query, signal } = {}) {
    const call = (fresh) => this.#call(method, path, { body, query, signal }, fresh);
    let response = await call(false);
    if (response.status === 401 && this.#token) response = await call(true);
    const data = await read(response);
    if (response.ok) return data;
    throw new ManaError(data?.code || `http_${response.status}`, data?.detail || response.statusText, {
      status: response.status,
      retryAfter: Number(response.headers.get("Retry-After")) || undefined,
      fields: data,
    });
  }

  /** Whether a refused token can be had anew. */
  get renewable() {
    return Boolean(this.#token);
  }

  /** The headers that say who the user is. */
  async credentials(method, { fresh = false } = {}) {
    if (this.#token) return { Authorization: `Bearer ${await this.#token({ fresh })}` };
    return SAFE.has(method) ? {} : { "X-CSRFToken": this.#csrf() };
  }

  /** @param {string} path below the API's root */
  url(path) {
    return this.#url(path);
  }

  async #call(method, path, { body, query, signal }, fresh) {
    const headers = { Accept: "application/json", ...(await this.credentials(method, { fresh })) };
    const isForm = typeof FormData !== "undefined" && body instanceof FormData;
    if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
    const options = { method, headers, signal, credentials: "same-origin" };
    if (body !== undefined) options.body = isForm ? body : JSON.stringify(body); // the browser names the boundary itself
    try {
      return await this.#fetch(this.#url(path, query), options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ManaError("network", "The server could not be reached.");
    }
  }

  #url(path, query) {
    const url = /^https?:/.test(path) ? path : this.#base + path.replace(/^\//, "");
    const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
    return given.length ? `${url}?${new URLSearchParams(given)}` : url;
  }
}

async function read(response) {
  const text = await response.text();
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null; // an error page of a proxy in between
  }
}

function cookie(name) {
  const found = globalThis.document?.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}
