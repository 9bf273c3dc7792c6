import { Emitter, Queue } from "./emitter.js";
import { SOURCES, kindOf } from "./devices.js";

const HELLO = 2_000; // ms until a greeting that had no answer is said again

/**
 * Media from peer to peer, between two. Both greet each other with the id of their page's connection (`instance`): a
 * page that was loaded anew gets a new RTCPeerConnection, one whose WebSocket alone broke keeps it. Who has the smaller
 * user id makes the first offer, with a section for each source; later ones may come from both sides (perfect
 * negotiation, https://www.w3.org/TR/webrtc/#perfect-negotiation-example). Sources come and go by replaceTrack.
 *
 * Events: `track` {user_id, source, track}, `state` {state: "connecting" | "connected" | "reconnecting"}, `failed` (no
 * way from peer to peer was found), `elsewhere` {media} (the other side uses the media server).
 */
export class PeerMedia extends Emitter {
  state = "connecting";
  #hooks;
  #instance = crypto.randomUUID();
  #remote; // {user_id, session_id}
  #theirs = null; // the other page's instance
  #peer = null;
  #polite;
  #offering = false;
  #ignoring = false;
  #work = this.#queue();
  #hello = null;
  #deadline = null;
  #closed = false;
  #wasConnected = false;

  /**
   * @param {{send: (frame: object) => void, me: string, callId: string, remote: object, local: object,
   *   configuration: () => Promise<RTCConfiguration>, crypto: object | null, patience: number}} hooks patience: ms that
   *   a connection may take to come about, or to come back
   */
  constructor(hooks) {
    super();
    this.#hooks = hooks;
    this.#remote = hooks.remote;
    this.#polite = hooks.me > hooks.remote.user_id;
  }

  /** The connections, for statistics. */
  get peers() {
    return this.#peer ? [this.#peer] : [];
  }

  /** @returns {{user_id: string, source: string} | undefined} of a track that is received */
  ownerOf(track) {
    const at = this.#peer?.getTransceivers().findIndex((one) => one.receiver.track.id === track);
    return at >= 0 ? { user_id: this.#remote.user_id, source: SOURCES[at] } : undefined;
  }

  start() {
    this.#expect();
    this.#greet(false);
  }

  /** The other one goes on with another session. */
  follow(remote) {
    const moved = remote.session_id !== this.#remote.session_id;
    this.#remote = remote;
    if (moved) this.#greet(false);
  }

  /** We have a new session ourselves: what was sent meanwhile may be lost. */
  resume() {
    this.#greet(false);
    if (this.#peer && this.#peer.connectionState !== "connected") this.restart();
  }

  /** New ICE credentials, after a change of network. */
  restart() {
    if (!this.#peer || this.#closed) return;
    this.#work.add(async () => {
      const { iceServers } = await this.#hooks.configuration();
      this.#peer?.setConfiguration({ ...this.#peer.getConfiguration(), iceServers });
      this.#peer?.restartIce();
    });
  }

  setTrack(source) {
    const sender = this.#peer?.getTransceivers()[SOURCES.indexOf(source)]?.sender;
    sender?.replaceTrack(this.#hooks.local.tracks.get(source) ?? null).catch((error) => console.warn(`call: ${error}`));
  }

  /** Everything that is there is sent in full. */
  setWishes() {}

  close() {
    this.#closed = true;
    clearTimeout(this.#hello);
    clearTimeout(this.#deadline);
    this.#reset();
  }

  /** A relayed frame of the other one. */
  receive(frame) {
    const { call_id, instance, to, hello, media } = frame.payload ?? {};
    if (this.#closed || call_id !== this.#hooks.callId || frame.from !== this.#remote.user_id) return;
    if (media === "sfu") return void this.emit("elsewhere", { media });
    this.#remote = { ...this.#remote, session_id: frame.session_id };
    if (instance !== this.#theirs) this.#met(instance);
    if (hello) {
      if (hello === "first" || to !== this.#instance) this.#greet(true);
      else clearTimeout(this.#hello);
      return;
    }
    if (to !== this.#instance) return; // for a page that we no longer are
    const work = this.#work;
    work.add(() => (work === this.#work ? this.#take(frame) : undefined));
  }

  #queue() {
    return new Queue((error) => this.#closed || console.warn(`call: ${error}`));
  }

  #met(instance) {
    this.#theirs = instance;
    this.#reset();
    this.#work.add(() => this.#open());
  }

  #greet(answering) {
    clearTimeout(this.#hello);
    if (this.#closed) return;
    this.#send("candidate", { candidate: null }, { hello: answering ? "answer" : "first" });
    if (!answering) this.#hello = setTimeout(() => this.state !== "connected" && this.#greet(false), HELLO);
  }

  async #open() {
    const configuration = await this.#hooks.configuration();
    if (this.#closed || this.#peer) return;
    const peer = (this.#peer = new RTCPeerConnection({ ...configuration, ...this.#hooks.crypto?.configuration }));
    peer.onicecandidate = ({ candidate }) => candidate && this.#send("candidate", { candidate: candidate.toJSON() });
    peer.onnegotiationneeded = () => this.#work.add(() => this.#offer(peer));
    peer.onconnectionstatechange = () => peer === this.#peer && this.#changed();
    peer.ontrack = ({ transceiver, track }) => {
      const source = SOURCES[peer.getTransceivers().indexOf(transceiver)];
      if (!source) return;
      this.#hooks.crypto?.receive(transceiver.receiver, this.#remote.user_id);
      this.emit("track", { user_id: this.#remote.user_id, source, track });
    };
    if (this.#polite) return;
    for (const source of SOURCES) {
      const track = this.#hooks.local.tracks.get(source);
      const transceiver = peer.addTransceiver(track ?? kindOf(source), { direction: "sendrecv" });
      this.#hooks.crypto?.send(transceiver, kindOf(source));
    }
  }

  async #offer(peer) {
    if (peer !== this.#peer || peer.signalingState !== "stable") return;
    this.#offering = true;
    try {
      await peer.setLocalDescription();
      this.#send("offer", { sdp: peer.localDescription.sdp });
    } finally {
      this.#offering = false;
    }
  }

  async #take({ type, sdp, candidate }) {
    const peer = this.#peer;
    if (!peer) return;
    if (type === "candidate") {
      try {
        await peer.addIceCandidate(candidate);
      } catch (error) {
        if (!this.#ignoring) throw error;
      }
      return;
    }
    const collides = type === "offer" && (this.#offering || peer.signalingState !== "stable");
    this.#ignoring = collides && !this.#polite;
    if (this.#ignoring || (type === "answer" && peer.signalingState !== "have-local-offer")) return;
    await peer.setRemoteDescription({ type, sdp });
    if (type !== "offer") return;
    await this.#attach(peer);
    await peer.setLocalDescription();
    this.#send("answer", { sdp: peer.localDescription.sdp });
  }

  /** What is offered to us has a section for each source: send in them as well. */
  async #attach(peer) {
    for (const [at, transceiver] of peer.getTransceivers().entries()) {
      if (transceiver.direction === "sendrecv" || !SOURCES[at]) continue;
      transceiver.direction = "sendrecv";
      this.#hooks.crypto?.send(transceiver, kindOf(SOURCES[at]));
      await transceiver.sender.replaceTrack(this.#hooks.local.tracks.get(SOURCES[at]) ?? null);
    }
  }

  #changed() {
    const { connectionState } = this.#peer;
    if (connectionState === "connected") {
      clearTimeout(this.#deadline);
      clearTimeout(this.#hello);
      this.#deadline = null;
      this.#wasConnected = true;
      this.#set("connected");
    } else if (connectionState === "disconnected" || connectionState === "failed") {
      this.#set("reconnecting");
      this.#expect();
      this.restart();
    }
  }

  #expect() {
    this.#deadline ??= setTimeout(() => this.emit("failed"), this.#hooks.patience);
  }

  #reset() {
    const peer = this.#peer;
    this.#peer = null;
    if (!peer) return;
    this.#work = this.#queue(); // a step of a connection that was closed never ends (webrtc-pc issue 2973)
    peer.onicecandidate = peer.onnegotiationneeded = peer.onconnectionstatechange = peer.ontrack = null;
    peer.close();
    if (this.#closed) return;
    this.#set("reconnecting");
    this.#expect();
  }

  #set(state) {
    const told = state === "reconnecting" && !this.#wasConnected ? "connecting" : state;
    if (this.state === told) return;
    this.state = told;
    this.emit("state", { state: told });
  }

  #send(type, content, extra = {}) {
    const { callId, send } = this.#hooks;
    const payload = { call_id: callId, instance: this.#instance, to: this.#theirs, ...extra };
    send({ type, to: this.#remote.session_id ?? this.#remote.user_id, ...content, payload });
  }
}
