// What the page says about its connection.

const PATIENCE = 1_000; // ms that a connection may take before anything is said about it

export class Banner {
  #client;
  #box = document.getElementById("banner");
  #text = document.getElementById("banner-text");
  #countdown = document.getElementById("banner-countdown");
  #retry = document.getElementById("banner-retry");
  #login = document.getElementById("banner-login");
  #timer = null;
  #since = Date.now(); // when we were last online

  constructor(client) {
    this.#client = client;
    client.on("state", () => this.#update());
    this.#retry.addEventListener("click", () => client.retryNow());
  }

  #update() {
    const { state, retryAt, code, reason } = this.#client.stateDetail;
    clearInterval(this.#timer);
    document.body.dataset.state = state;
    this.#retry.hidden = state !== "offline";
    this.#login.hidden = state !== "unauthenticated" && !(state === "closed" && code);
    this.#countdown.textContent = "";
    switch (state) {
      case "online":
        this.#since = null;
        return this.#hide();
      case "offline":
        this.#since ??= Date.now() - PATIENCE;
        this.#show(navigator.onLine ? "No connection." : "You are offline.");
        this.#tick(retryAt);
        this.#timer = setInterval(() => this.#tick(retryAt), 250);
        return undefined;
      case "unauthenticated":
        return this.#show(reason || "You are signed out.");
      case "closed":
        return code ? this.#show(reason || "The server has closed the connection.") : this.#hide();
      default:
        return this.#later(state === "syncing" ? "Updating…" : "Connecting…");
    }
  }

  #tick(retryAt) {
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    this.#countdown.textContent = `Reconnecting in ${seconds} s…`;
  }

  /** A short interruption is nobody's business; after a visible one the banner stays until we are online. */
  #later(text) {
    this.#since ??= Date.now();
    const wait = this.#since + PATIENCE - Date.now();
    if (!this.#box.hidden || wait <= 0) return this.#show(text);
    this.#timer = setTimeout(() => this.#show(text), wait);
    return undefined;
  }

  #show(text) {
    this.#box.hidden = false;
    if (this.#text.textContent !== text) this.#text.textContent = text;
  }

  #hide() {
    this.#box.hidden = true;
    this.#text.textContent = "";
  }
}
