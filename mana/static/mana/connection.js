const FIRST_WAIT = 500; // ms before the first reconnect, doubled each time
const LONGEST_WAIT = 30_000;
const STABLE = 5_000; // ms online after which the waits begin anew
const KICK_SPACING = 1_000; // ms between two attempts that the page (online, visible) asks for
const WELCOME_TIMEOUT = 15_000; // ms until an attempt without a welcome counts as failed
const HEARTBEAT = 25_000; // ms of silence until we ask whether anybody is there
const PONG_TIMEOUT = 10_000; // ms to wait for a sign of life
const RENEW_EARLY = 60_000; // ms before its expiry that a token is renewed, or a fifth of its life if that is less

export const CLOSE = { UNAUTHENTICATED: 4001, FORBIDDEN: 4003, SIGNED_OUT: 4009 };

/**
 * The socket: opening it with the right credentials, noticing that it is dead, and opening it again after a wait.
 *
 * States: `closed`, `connecting`, `syncing` (welcome received), `online`, `offline` (waiting until `retryAt`),
 * `unauthenticated`.
 */
export class Connection {
  #options;
  #hooks;
  #clock;
  #ws = null;
  #turn = 0; // number of the current attempt; what arrives for an older one is ignored
  #wanted = false;
  #state = { state: "closed" };
  #attempt = 0;
  #attemptedAt = 0;
  #welcomedAt = null;
  #notBefore = 0; // the server asked us not to come back earlier
  #notice = null; // the last error frame without ack_id: it explains the close that follows
  #triedFresh = false;
  #token = null;
  #lastReceived = 0;
  #skew = 0; // server's clock minus ours, ms
  #timers = {};
  #unlisten = [];

  /**
   * @param {object} options those of ManaClient
   * @param {{onFrame: (frame: object) => void, onState: (state: object) => void, onLost: () => void,
   *   onHeartbeat: () => void}} hooks
   */
  constructor(options, hooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#clock = options.clock;
  }

  get state() {
    return this.#state;
  }

  connect() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#attempt = 0;
    this.#triedFresh = false;
    this.#notBefore = 0;
    this.#listen();
    this.#open(false);
  }

  disconnect(state = "closed", detail = {}) {
    if (!this.#wanted && state === this.#state.state) return;
    this.#wanted = false;
    for (const stop of this.#unlisten.splice(0)) stop();
    this.#abandon(1000);
    this.#set(state, detail);
  }

  /** Do not wait any longer (a "retry now" button). */
  retryNow() {
    if (this.#state.state === "offline") this.#open(false);
  }

  /** @returns {boolean} whether the frame was handed to an open, welcomed socket */
  send(frame) {
    if (this.#welcomedAt === null || this.#ws?.readyState !== 1) return false;
    this.#ws.send(JSON.stringify(frame));
    return true;
  }

  /** The client has taken the welcome: frames may be sent. */
  welcomed({ server_time }) {
    this.#welcomedAt = this.#clock.now();
    const serverNow = Date.parse(server_time);
    this.#skew = Number.isNaN(serverNow) ? 0 : serverNow - this.#clock.now();
    this.#stop("connect");
    this.#start("heartbeat", HEARTBEAT, () => this.#heartbeat());
    this.#planRenewal();
    this.#set("syncing");
  }

  synced() {
    if (this.#state.state === "syncing") this.#set("online");
  }

  /** A sync runs again, on the open connection. */
  syncing() {
    if (this.#state.state === "online") this.#set("syncing");
  }

  /** Give up on this socket and come back. */
  reset(reason) {
    if (!this.#ws) return;
    this.#abandon(1000);
    this.#closed(1006, reason);
  }

  async #open(fresh) {
    this.#abandon(1000);
    const turn = this.#turn;
    this.#attemptedAt = this.#clock.now();
    this.#notice = null;
    this.#set("connecting", { attempt: this.#attempt });
    this.#start("connect", WELCOME_TIMEOUT, () => {
      this.#abandon(1000);
      this.#closed(1006, "no welcome");
    });
    try {
      const { url, protocols } = await this.#address(fresh);
      if (turn !== this.#turn) return;
      const ws = new this.#options.WebSocket(url, protocols);
      ws.onmessage = (event) => turn === this.#turn && this.#receive(event.data);
      ws.onclose = (event) => turn === this.#turn && this.#closed(event.code, event.reason);
      this.#ws = ws;
    } catch (error) {
      if (turn !== this.#turn) return;
      const refused = error.status === 401 || error.status === 403;
      if (refused) this.disconnect("unauthenticated", { code: CLOSE.UNAUTHENTICATED, reason: error.message });
      else this.#closed(1006, error.message);
    }
  }

  async #address(fresh) {
    const { url, token, ticket, deviceId } = this.#options;
    const address = new URL(url);
    address.searchParams.set("device_id", deviceId());
    const protocols = ["mana.v1"];
    if (token) {
      this.#token = typeof token === "function" ? await token({ fresh }) : token;
      protocols.push(`bearer.${this.#token}`);
    } else if (ticket) {
      address.searchParams.set("ticket", await ticket());
    }
    return { url: address.href, protocols };
  }

  #receive(data) {
    this.#lastReceived = this.#clock.now();
    this.#stop("pong");
    let frames;
    try {
      frames = JSON.parse(data);
    } catch {
      frames = { type: "error", code: "bad_frame", error: "The server sent something that is not JSON." };
    }
    const turn = this.#turn;
    for (const frame of Array.isArray(frames) ? frames : [frames]) {
      if (turn !== this.#turn) return; // a handler has closed or replaced the connection
      if (!frame || typeof frame !== "object") continue;
      if (frame.type === "error" && frame.ack_id === undefined) this.#notice = frame;
      this.#hooks.onFrame(frame);
    }
  }

  #closed(code, reason) {
    const notice = this.#notice;
    const stable = this.#welcomedAt !== null && this.#clock.now() - this.#welcomedAt >= STABLE;
    this.#abandon(1000);
    if (!this.#wanted) return;
    if (stable) {
      this.#attempt = 0;
      this.#triedFresh = false;
    }
    const detail = { code, reason: notice?.error || reason || "" };
    if (code === CLOSE.UNAUTHENTICATED) {
      const renewable = this.#options.ticket || typeof this.#options.token === "function";
      if (!renewable || this.#triedFresh) return this.disconnect("unauthenticated", detail);
      this.#triedFresh = true;
      return void this.#open(true);
    }
    if (code === CLOSE.FORBIDDEN || code === CLOSE.SIGNED_OUT) return this.disconnect("closed", detail);
    this.#retryLater(detail, notice?.retry_after);
  }

  #retryLater(detail, retryAfter) {
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempt);
    const jittered = longest / 2 + (longest / 2) * this.#options.random();
    const wait = Math.max(jittered, (retryAfter || 0) * 1000);
    const now = this.#clock.now();
    this.#attempt += 1;
    this.#notBefore = retryAfter ? now + retryAfter * 1000 : 0;
    this.#start("retry", wait, () => this.#open(false));
    this.#set("offline", { ...detail, attempt: this.#attempt, retryAt: now + wait });
  }

  /** Let go of the socket without waiting for its close, which a dead network may never report. */
  #abandon(code) {
    this.#turn += 1;
    for (const name of Object.keys(this.#timers)) this.#stop(name);
    const ws = this.#ws;
    const wasWelcomed = this.#welcomedAt !== null;
    this.#ws = null;
    this.#welcomedAt = null;
    if (ws) {
      ws.onmessage = ws.onclose = null;
      ws.close(code);
    }
    if (wasWelcomed) this.#hooks.onLost();
  }

  #heartbeat() {
    const silent = this.#clock.now() - this.#lastReceived;
    if (silent >= HEARTBEAT) this.#probe(PONG_TIMEOUT);
    this.#start("heartbeat", silent >= HEARTBEAT ? HEARTBEAT : HEARTBEAT - silent, () => this.#heartbeat());
    this.#hooks.onHeartbeat();
  }

  #probe(wait) {
    if (this.#timers.pong || !this.send({ type: "ping" })) return;
    this.#start("pong", wait, () => this.reset("no answer"));
  }

  /** The page came back or the network did: try at once, or see whether the socket survived. */
  #kick() {
    const { state } = this.#state;
    if (state === "online" || state === "syncing") return this.#probe(PONG_TIMEOUT / 2);
    if (state !== "offline") return undefined;
    const now = this.#clock.now();
    const wait = Math.max(this.#notBefore, this.#attemptedAt + KICK_SPACING) - now;
    if (now + wait >= this.#state.retryAt) return undefined;
    if (wait <= 0) return void this.#open(false);
    this.#start("retry", wait, () => this.#open(false));
    return this.#set("offline", { ...this.#state, retryAt: now + wait });
  }

  #listen() {
    const { window, document } = this.#options;
    const on = (target, type, listener) => {
      target?.addEventListener(type, listener);
      this.#unlisten.push(() => target?.removeEventListener(type, listener));
    };
    const kick = () => this.#kick();
    for (const type of ["online", "offline", "pageshow"]) on(window, type, kick);
    on(document, "visibilitychange", () => document.visibilityState === "visible" && kick());
  }

  #planRenewal() {
    if (typeof this.#options.token !== "function") return;
    const life = lifeOf(this.#token);
    if (!life) return;
    const left = life.expires - (this.#clock.now() + this.#skew);
    const early = Math.min(RENEW_EARLY, (life.expires - (life.issued ?? life.expires - RENEW_EARLY * 5)) / 5);
    this.#start("renew", Math.min(Math.max(left - early, 1_000), 2 ** 31 - 1), () => this.#renew());
  }

  async #renew() {
    const turn = this.#turn;
    try {
      const token = await this.#options.token({ fresh: true });
      if (turn !== this.#turn) return;
      this.#token = token;
      this.send({ type: "auth", token });
      this.#planRenewal();
    } catch {
      if (turn === this.#turn) this.#start("renew", PONG_TIMEOUT, () => this.#renew());
    }
  }

  #set(state, detail = {}) {
    const previous = this.#state.state;
    this.#state = { ...detail, state, previous };
    this.#hooks.onState(this.#state);
  }

  #start(name, ms, run) {
    this.#stop(name);
    this.#timers[name] = this.#clock.setTimeout(() => {
      delete this.#timers[name];
      run();
    }, ms);
  }

  #stop(name) {
    this.#clock.clearTimeout(this.#timers[name]);
    delete this.#timers[name];
  }
}

/** @returns {{issued?: number, expires: number} | null} ms, from a JWT; null for an opaque token */
function lifeOf(token) {
  try {
    const body = String(token).split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { iat, exp } = JSON.parse(atob(body));
    return exp ? { issued: iat && iat * 1000, expires: exp * 1000 } : null;
  } catch {
    return null;
  }
}
