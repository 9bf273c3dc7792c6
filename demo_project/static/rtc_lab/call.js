/**
 * A call through the SFU in as few lines as it takes: two peer connections, one that we offer and publish in, one that
 * the server offers and we receive in, and the frames of the project's signaling between them.
 *
 * `signal` is an EventTarget-like client with `request(type, frame)` and `on(type, listener)` (mana.js).
 */
const LAYERS = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_500_000 },
];

export class Call extends EventTarget {
  #signal;
  #stop = [];
  #offering = Promise.resolve();
  #answering = Promise.resolve();
  #awaited = null;
  #resume = null;
  #sources = new Map(); // transceiver -> source

  constructor(signal, roomId) {
    super();
    this.#signal = signal;
    this.roomId = roomId;
    this.participant = null;
    this.tracks = new Map(); // id -> info
    this.media = new Map(); // id -> MediaStreamTrack
    this.speakers = [];
    this.publishing = null;
    this.receiving = null;
  }

  async join() {
    const listen = (type, handle) => {
      this.#stop.push(this.#signal.on(type, (frame) => frame.room_id === this.roomId && handle(frame)));
    };
    listen("ready", (frame) => this.#onReady(frame));
    listen("sfu_offer", (frame) => {
      this.#answering = this.#answering.then(() => this.#answer(frame)).catch((error) => this.#failed(error));
    });
    listen("sfu_answer", (frame) => this.#awaited?.(frame.sdp));
    listen("track_added", ({ payload }) => this.tracks.set(payload.id, payload));
    listen("track_removed", ({ payload }) => {
      this.tracks.delete(payload.id);
      this.media.delete(payload.id);
      this.#tell("tracks");
    });
    listen("active_speaker", ({ payload }) => {
      this.speakers.push(payload);
      this.#tell("speaker", payload);
    });
    listen("subscribe", ({ payload }) => this.#setLayers(payload));
    this.publishing = new RTCPeerConnection();
    this.receiving = new RTCPeerConnection();
    await this.#send("ready", {});
  }

  /** Comes back after the WebSocket was lost; media went on meanwhile. */
  async resume() {
    await this.#send("ready", { payload: { resume: this.#resume } });
    await this.restart();
  }

  /** Publishes a track; a camera in three layers. */
  async publish(track, source, stream = new MediaStream([track])) {
    const layered = source === "camera";
    const transceiver = this.publishing.addTransceiver(track, {
      direction: "sendonly",
      streams: [stream],
      sendEncodings: layered ? LAYERS.map((layer) => ({ ...layer })) : undefined,
    });
    this.#sources.set(transceiver, source);
    await this.#offer();
    return transceiver;
  }

  /** Publishes a track no longer. */
  async unpublish(transceiver) {
    await transceiver.sender.replaceTrack(null);
    transceiver.direction = "inactive";
    this.#sources.delete(transceiver);
    await this.#offer();
  }

  /** A data channel to everybody who has one of the same label. */
  async openChannel(label, options) {
    const channel = this.publishing.createDataChannel(label, options);
    channel.binaryType = "arraybuffer";
    await this.#offer();
    return channel;
  }

  wish(tracks) {
    return this.#send("subscribe", { payload: { tracks } });
  }

  /** New ICE credentials in both directions: after a change of network. */
  async restart() {
    await this.#send("ice_restart", {});
    if (this.publishing.localDescription) await this.#offer({ iceRestart: true });
  }

  async leave() {
    for (const stop of this.#stop) stop();
    await this.#send("ready", { payload: false });
    this.publishing.close();
    this.receiving.close();
  }

  #offer(options) {
    this.#offering = this.#offering.then(() => this.#negotiate(options));
    return this.#offering;
  }

  async #negotiate(options) {
    const peer = this.publishing;
    await peer.setLocalDescription(await peer.createOffer(options));
    const sources = {};
    for (const [transceiver, source] of this.#sources) sources[transceiver.mid] = source;
    const answer = new Promise((resolve) => (this.#awaited = resolve));
    await this.#send("sfu_offer", { sdp: peer.localDescription.sdp, payload: { sources } });
    await peer.setRemoteDescription({ type: "answer", sdp: await answer });
  }

  async #answer({ sdp, payload }) {
    const peer = this.receiving;
    await peer.setRemoteDescription({ type: "offer", sdp });
    await peer.setLocalDescription();
    this.media.clear();
    for (const transceiver of peer.getTransceivers()) {
      const id = payload.tracks[transceiver.mid];
      if (id) this.media.set(id, transceiver.receiver.track);
    }
    await this.#send("sfu_answer", { sdp: peer.localDescription.sdp, payload: { number: payload.number } });
    this.#tell("tracks");
  }

  #onReady({ payload }) {
    if (payload.participant) {
      this.participant = payload.participant;
      this.#resume = payload.resume;
      for (const track of payload.tracks) this.tracks.set(track.id, track);
    }
    this.#tell("ready", payload);
  }

  async #setLayers({ track, layers }) {
    const mid = track.split("-").at(-2);
    const transceiver = this.publishing.getTransceivers().find((one) => one.mid === mid);
    const parameters = transceiver?.sender.getParameters();
    if (!parameters?.encodings?.length) return;
    for (const encoding of parameters.encodings) encoding.active = layers[encoding.rid] ?? true;
    await transceiver.sender.setParameters(parameters);
    this.#tell("layers", layers);
  }

  #send(type, frame) {
    return this.#signal.request({ type, room_id: this.roomId, ...frame });
  }

  #failed(error) {
    console.error(`call: ${error}`);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
