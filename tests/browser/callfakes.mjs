// What calls.js needs of a browser and of a server, for tests in Node: nothing here sends or plays anything.

let number = 0;

export class FakeTrack extends EventTarget {
  constructor(kind) {
    super();
    Object.assign(this, { kind, id: `track-${(number += 1)}`, enabled: true, readyState: "live", onended: null });
  }

  stop() {
    this.readyState = "ended";
  }
}

class FakeStream {
  constructor(tracks) {
    this.tracks = tracks;
  }

  getTracks() {
    return this.tracks;
  }

  getVideoTracks() {
    return this.tracks.filter((track) => track.kind === "video");
  }

  getAudioTracks() {
    return this.tracks.filter((track) => track.kind === "audio");
  }
}

/** Keeps all that were made in `FakePeer.made`. */
export class FakePeer {
  static made = [];
  connectionState = "new";
  signalingState = "stable";
  localDescription = null;
  remoteDescription = null;
  transceivers = [];
  restarts = 0;

  constructor(configuration) {
    this.configuration = configuration;
    FakePeer.made.push(this);
  }

  addTransceiver(trackOrKind, { sendEncodings, direction }) {
    const track = typeof trackOrKind === "string" ? null : trackOrKind;
    const kind = track?.kind ?? trackOrKind;
    const parameters = { encodings: (sendEncodings ?? [{}]).map((one) => ({ active: true, ...one })) };
    const sender = {
      track,
      replaceTrack: async (other) => void (sender.track = other),
      getParameters: () => structuredClone(parameters),
      setParameters: async (changed) => Object.assign(parameters, changed),
    };
    const receiver = { track: new FakeTrack(kind), getSynchronizationSources: () => [] };
    const transceiver = { mid: null, sender, receiver, direction };
    this.transceivers.push(transceiver);
    queueMicrotask(() => this.onnegotiationneeded?.());
    return transceiver;
  }

  getTransceivers() {
    return this.transceivers;
  }

  async createOffer(options) {
    if (options?.iceRestart) this.restarts += 1;
    return { type: "offer", sdp: "v=0 offer" };
  }

  async setLocalDescription(description) {
    const type = description?.type ?? (this.signalingState === "have-remote-offer" ? "answer" : "offer");
    this.signalingState = type === "offer" ? "have-local-offer" : "stable";
    this.localDescription = { type, sdp: `v=0 ${type}` };
    this.transceivers.forEach((one, at) => (one.mid ??= String(at)));
  }

  async setRemoteDescription({ type, sdp }) {
    this.signalingState = type === "offer" ? "have-remote-offer" : "stable";
    this.remoteDescription = { type, sdp };
    // A test says what is offered by lines such as "video 3": kind and mid.
    for (const [, kind, mid] of sdp.matchAll(/(audio|video) (\d+)/g)) {
      if (this.transceivers.some((one) => one.mid === mid)) continue;
      const transceiver = this.addTransceiver(kind, { direction: "recvonly" });
      transceiver.mid = mid;
      this.ontrack?.({ transceiver, track: transceiver.receiver.track });
    }
  }

  async addIceCandidate() {}

  async getStats() {
    return new Map();
  }

  getConfiguration() {
    return this.configuration;
  }

  setConfiguration(configuration) {
    this.configuration = configuration;
  }

  restartIce() {
    this.restarts += 1;
    queueMicrotask(() => this.onnegotiationneeded?.());
  }

  /** As if the network had said so. */
  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  close() {
    this.connectionState = "closed";
  }
}

/** Puts a browser's parts where the modules look for them. @returns {{refuse: (name: string | null) => void}} */
export function fakeBrowser() {
  let refusal = null;
  const open = async (wanted) => {
    if (refusal) throw new DOMException("refused", refusal);
    return new FakeStream(Object.keys(wanted).map((kind) => new FakeTrack(kind)));
  };
  const mediaDevices = { getUserMedia: open, getDisplayMedia: async () => open({ video: true }), enumerateDevices: async () => [] };
  Object.defineProperty(globalThis, "navigator", { value: { mediaDevices }, configurable: true });
  Object.assign(globalThis, { RTCPeerConnection: FakePeer, MediaStream: FakeStream, addEventListener: () => {} });
  FakePeer.made = [];
  return { refuse: (name) => void (refusal = name) };
}

/** A ManaClient whose server is `answers`: by type of frame, what it does with one; it gives the ack, or throws. */
export class FakeClient extends EventTarget {
  userId = "1";
  welcome = { session_id: "s1", features: ["sfu_offer"] };
  sent = [];
  calls = new Map(); // call id -> what REST says of it

  constructor(answers = {}) {
    super();
    this.answers = answers;
    this.rest = {
      get: async (path) => {
        if (path === "rtc/ice-servers") return { ice_servers: [], ice_transport_policy: "all" };
        if (path === "rtc/calls") return { results: [...this.calls.values()].filter((call) => call.state !== "ended") };
        if (path.startsWith("rooms/")) return { room_type: path.includes("direct") ? "direct" : "group" };
        const found = this.calls.get(path.split("/").at(-1));
        if (!found) throw Object.assign(new Error("no such call"), { status: 404 });
        return found;
      },
    };
  }

  on(type, listener) {
    this.addEventListener(type, (event) => listener(event.detail));
  }

  /** A frame from the server. */
  tell(type, frame) {
    this.dispatchEvent(new CustomEvent(type, { detail: { type, ...frame } }));
  }

  async request(frame) {
    this.sent.push(frame);
    return (await this.answers[frame.type]?.(frame)) ?? {};
  }

  frames(type) {
    return this.sent.filter((frame) => frame.type === type);
  }
}

/** Waits until something is so, without a clock of its own. */
export async function until(condition, what) {
  for (let turns = 0; turns < 400; turns += 1) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`not so: ${what}`);
}
