import { Emitter, Queue } from "./emitter.js";
import { kindOf } from "./devices.js";

/** The layers of a camera, the lowest first; a screen has one. */
const LAYERS = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_500_000 },
];
const SCREEN_BITRATE = 2_500_000;
const ANSWER = 8_000; // ms that the server may take to answer
const RETRY = [0, 300, 700, 1_200, 2_000, 3_000, 5_000]; // ms before each attempt to join
const ASK = 8; // attempts after which we ask whether the call goes on; as long as it does, media servers may come back
const RESTART = 3_500; // ms after which a transport that a restart of ICE did not bring back is made anew
const WISHES = 150; // ms in which changes of what is visible become one frame

/**
 * Media through the server (docs/rtc-media.md): one connection that we offer and publish in, one that the server offers
 * and we receive in. It joins again by itself, with new connections, when the media server has lost it.
 *
 * Events: `track` {user_id, source, track | null}, `state` {state: "connecting" | "connected" | "reconnecting"},
 * `speakers` {dominant: user_id | null, speakers: [{user_id, loudness}]}, `layers` {source, layers}, `gone` (the server
 * does not let us in any more, or has not for a while: ask what became of the call).
 */
export class SfuMedia extends Emitter {
  state = "connecting";
  #hooks;
  #publishing = null;
  #receiving = null;
  #participant = null;
  #token = null;
  #users = new Map(); // participant -> user id
  #tracks = new Map(); // track id -> info
  #media = new Map(); // track id -> receiver
  #shown = new Map(); // "user source" -> MediaStreamTrack
  #sending = new Map(); // source -> transceiver
  #visible = null; // user id -> {camera, screen}: heights in pixels
  #wished = "";
  #offers = this.#queue();
  #answers = this.#queue();
  #seated = null; // {resolve, reject} of the `ready` that is waited for
  #answered = null; // the same for an `sfu_answer`
  #turn = 0; // number of the current attempt; what belongs to an older one is ignored
  #joining = false;
  #closed = false;
  #timers = {};
  #wasConnected = false;

  /**
   * @param {{request: (frame: object) => Promise<object>, me: string, local: object, crypto: object | null,
   *   configuration: () => Promise<RTCConfiguration>}} hooks
   */
  constructor(hooks) {
    super();
    this.#hooks = hooks;
  }

  get peers() {
    return [this.#publishing, this.#receiving].filter(Boolean);
  }

  ownerOf(track) {
    for (const [id, receiver] of this.#media) {
      const info = this.#tracks.get(id);
      if (receiver.track.id === track && info) return { user_id: info.user_id, source: info.source };
    }
    return undefined;
  }

  start() {
    this.#join(false);
  }

  /** We have a new session: take the seat again that we had, with the connections that we have. */
  resume() {
    this.#join(true);
  }

  /** New ICE credentials in both directions. */
  async restart() {
    if (this.#joining || this.#closed || !this.#publishing) return;
    try {
      await this.#request({ type: "ice_restart" });
      if (this.#publishing?.localDescription) await this.#offer({ iceRestart: true });
    } catch (error) {
      this.#trouble(error);
    }
  }

  setTrack(source) {
    if (this.#publishing && !this.#joining) this.#publish(source);
  }

  /**
   * Who is visible, and how large: others are not sent to us.
   * @param {Map<string, {camera?: number, screen?: number}>} visible user id -> heights in device pixels, 0: not at all
   */
  setWishes(visible) {
    this.#visible = visible;
    clearTimeout(this.#timers.wishes);
    this.#timers.wishes = setTimeout(() => this.#wish(), WISHES);
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#turn += 1;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#request({ type: "ready", payload: false }).catch(() => {});
    this.#drop();
  }

  /** A frame of the media server for this room. */
  receive(frame) {
    if (this.#closed) return;
    const { type, payload } = frame;
    if (type === "ready") this.#ready(frame);
    else if (type === "sfu_offer") this.#answers.add(this.#ofNow(() => this.#answer(frame)));
    else if (type === "sfu_answer") this.#answered?.resolve(frame.sdp);
    else if (type === "track_added") this.#added(payload);
    else if (type === "track_removed") this.#removed(payload.id);
    else if (type === "active_speaker") this.#speakers(payload);
    else if (type === "subscribe") this.#setLayers(payload);
  }

  // Joining

  async #join(resuming) {
    if (this.#closed) return;
    const turn = (this.#turn += 1);
    this.#joining = true;
    let keep = resuming && Boolean(this.#token && this.#publishing);
    for (let attempt = 0; turn === this.#turn; attempt += 1) {
      await new Promise((resolve) => setTimeout(resolve, RETRY[Math.min(attempt, RETRY.length - 1)]));
      if (turn !== this.#turn) return;
      try {
        if (keep) await this.#enter({ payload: { resume: this.#token } });
        else await this.#enterAnew(turn);
        if (turn !== this.#turn) return;
        this.#joining = false;
        if (keep) await this.restart();
        // Turned on or off meanwhile:
        for (const source of new Set([...this.#sending.keys(), ...this.#hooks.local.tracks.keys()])) await this.#publish(source);
        this.#changed();
        return;
      } catch (error) {
        if (turn !== this.#turn) return;
        // Without a connection the next session comes back to this, by `resume`.
        if (error.code === "offline" || error.code === "disconnected") return;
        if (keep) keep = false; // the seat is gone
        else if (["forbidden", "not_a_member", "not_found", "blocked"].includes(error.code)) {
          this.emit("gone", { error });
          return;
        } else if (error.code === "conflict" || attempt % ASK === ASK - 1) this.emit("gone", { error });
        this.#set("reconnecting");
      }
    }
  }

  async #enterAnew(turn) {
    this.#drop();
    const configuration = { ...(await this.#hooks.configuration()), ...this.#hooks.crypto?.configuration };
    if (turn !== this.#turn) return;
    this.#publishing = this.#connection(configuration);
    this.#receiving = this.#connection(configuration);
    // In the event itself: Chromium lets through as it is what has no transform by then. Whose it is comes later.
    this.#receiving.ontrack = ({ receiver }) => this.#hooks.crypto?.receive(receiver, null);
    // The embedded media server learns addresses from checks; another engine may want to be told.
    this.#publishing.onicecandidate = ({ candidate }) =>
      candidate && this.#request({ type: "sfu_candidate", candidate: candidate.toJSON() }).catch(() => {});
    await this.#enter({});
    if (turn !== this.#turn) return;
    for (const source of this.#hooks.local.tracks.keys()) this.#prepare(source);
    if (this.#sending.size) await this.#negotiate();
  }

  async #enter(frame) {
    const seated = deferred();
    this.#seated = seated;
    try {
      await Promise.all([this.#request({ type: "ready", ...frame }), within(seated.promise)]);
    } finally {
      this.#seated = null;
    }
  }

  #ready({ payload, from }) {
    if (payload.participant) {
      this.#participant = payload.participant;
      this.#token = payload.resume;
      this.#users = new Map(payload.participants.map((one) => [one.id, one.user_id]));
      this.#tracks = new Map(payload.tracks.map((track) => [track.id, track]));
      for (const track of payload.tracks) this.#users.set(track.participant, track.user_id);
      this.#wished = "";
      this.#show();
      this.#seated?.resolve();
    } else if (payload.lost && !this.#joining) {
      this.#set("reconnecting");
      this.#join(false);
    } else if (payload.left === this.#participant && from === this.#hooks.me) {
      this.emit("gone", { reason: payload.reason });
    }
  }

  #connection(configuration) {
    const peer = new RTCPeerConnection(configuration);
    peer.onconnectionstatechange = () => this.#changed();
    return peer;
  }

  /** Let go of what belongs to an earlier seat. */
  #drop() {
    for (const peer of this.peers) {
      peer.onconnectionstatechange = peer.onicecandidate = peer.ontrack = null;
      peer.close();
    }
    this.#publishing = this.#receiving = this.#token = this.#participant = null;
    // A step of a connection that was closed never ends (webrtc-pc issue 2973): nothing may wait behind it.
    this.#offers = this.#queue();
    this.#answers = this.#queue();
    this.#sending.clear();
    this.#media.clear();
    this.#tracks.clear();
    this.#answered?.reject(new Error("dropped"));
    this.#show();
  }

  #changed() {
    if (this.#closed) return;
    const states = this.peers.filter((peer) => peer.localDescription).map((peer) => peer.connectionState);
    const broken = states.some((state) => state === "failed" || state === "disconnected");
    if (broken && !this.#joining) {
      this.#set("reconnecting");
      if (this.#timers.restart) return;
      this.restart();
      this.#timers.restart = setTimeout(() => {
        this.#timers.restart = null;
        if (this.state === "reconnecting") this.#join(false);
      }, RESTART);
    } else if (!broken && !this.#joining && states.every((state) => state === "connected")) {
      clearTimeout(this.#timers.restart);
      this.#timers.restart = null;
      this.#wasConnected = true;
      this.#set("connected");
    }
  }

  #set(state) {
    const told = state === "reconnecting" && !this.#wasConnected ? "connecting" : state;
    if (this.state === told) return;
    this.state = told;
    this.emit("state", { state: told });
  }

  /** Something was refused or broke: a server that does not know us is joined anew. */
  #trouble(error) {
    if (this.#closed || this.#joining || error.message === "dropped") return;
    if (error.code === "offline" || error.code === "disconnected") return; // the next session resumes
    console.warn(`call: ${error.message}`);
    this.#set("reconnecting");
    this.#join(false);
  }

  // Publishing

  async #publish(source) {
    const track = this.#hooks.local.tracks.get(source) ?? null;
    const there = this.#sending.get(source);
    if (there) return there.sender.replaceTrack(track).catch((error) => console.warn(`call: ${error}`));
    if (!track) return undefined;
    this.#prepare(source);
    return this.#offer();
  }

  #prepare(source) {
    const track = this.#hooks.local.tracks.get(source);
    const transceiver = this.#publishing.addTransceiver(track, {
      direction: "sendonly",
      streams: [new MediaStream([track])],
      sendEncodings: encodingsOf(source),
    });
    this.#sending.set(source, transceiver);
    this.#hooks.crypto?.send(transceiver, kindOf(source));
  }

  #offer(options) {
    return this.#offers.add(this.#ofNow(() => this.#negotiate(options)));
  }

  #queue() {
    return new Queue((error) => this.#trouble(error));
  }

  /** `work` unless the connections are others by the time that it is its turn. */
  #ofNow(work) {
    const [publishing, receiving] = [this.#publishing, this.#receiving];
    return () => (publishing === this.#publishing && receiving === this.#receiving ? work() : undefined);
  }

  async #negotiate(options) {
    const peer = this.#publishing;
    if (!peer) return;
    await peer.setLocalDescription(await peer.createOffer(options));
    const sources = {};
    for (const [source, transceiver] of this.#sending) if (transceiver.mid !== null) sources[transceiver.mid] = source;
    const answered = (this.#answered = deferred());
    const [sdp] = await Promise.all([
      within(answered.promise),
      this.#request({ type: "sfu_offer", sdp: peer.localDescription.sdp, payload: { sources } }),
    ]);
    if (peer === this.#publishing) await peer.setRemoteDescription({ type: "answer", sdp });
  }

  /** Which layers somebody watches: the others cost nothing. */
  async #setLayers({ track, layers }) {
    const mid = track.split("-").at(-2);
    const [source, transceiver] = [...this.#sending].find(([, one]) => one.mid === mid) ?? [];
    const parameters = transceiver?.sender.getParameters();
    if (!parameters?.encodings?.length) return;
    for (const encoding of parameters.encodings) encoding.active = layers[encoding.rid] ?? true;
    await transceiver.sender.setParameters(parameters).catch(() => {}); // a negotiation has come between
    this.emit("layers", { source, layers });
  }

  // Receiving

  async #answer({ sdp, payload }) {
    const peer = this.#receiving;
    if (!peer) return;
    await peer.setRemoteDescription({ type: "offer", sdp });
    await peer.setLocalDescription();
    this.#media.clear();
    for (const transceiver of peer.getTransceivers()) {
      const id = payload.tracks[transceiver.mid];
      if (id) this.#media.set(id, transceiver.receiver);
    }
    this.#show();
    await this.#request({ type: "sfu_answer", sdp: peer.localDescription.sdp, payload: { number: payload.number } });
  }

  #added(info) {
    this.#users.set(info.participant, info.user_id);
    this.#tracks.set(info.id, info);
    this.#show();
  }

  #removed(id) {
    this.#tracks.delete(id);
    this.#media.delete(id);
    this.#show();
  }

  /** Tell what has come and gone. Of somebody who joined anew the newest track counts. */
  #show() {
    const now = new Map();
    for (const [id, info] of this.#tracks) {
      const receiver = this.#media.get(id);
      if (!receiver || info.user_id === this.#hooks.me) continue;
      this.#hooks.crypto?.receive(receiver, info.user_id);
      now.set(`${info.user_id} ${info.source}`, receiver.track);
    }
    const before = this.#shown;
    this.#shown = now;
    const tell = (key, track) => {
      const [user_id, source] = key.split(" ");
      this.emit("track", { user_id, source, track });
    };
    for (const key of before.keys()) if (!now.has(key)) tell(key, null);
    for (const [key, track] of now) if (before.get(key) !== track) tell(key, track);
    if (this.#visible) this.setWishes(this.#visible);
  }

  #wish() {
    if (this.#joining || this.#closed || !this.#participant) return;
    const tracks = {};
    for (const [id, { user_id, source, kind, layers }] of this.#tracks) {
      if (kind !== "video" || user_id === this.#hooks.me) continue;
      const height = this.#visible.get(user_id)?.[source] ?? 0;
      const most = Math.max(0, (layers?.length ?? 1) - 1);
      const wanted = height <= 200 ? 0 : height <= 400 ? 1 : 2;
      tracks[id] = { enabled: height > 0, max_layer: source === "screen" ? most : Math.min(most, wanted), pinned: height > 600 };
    }
    const wished = JSON.stringify(tracks);
    if (wished === this.#wished || wished === "{}") return;
    this.#wished = wished;
    this.#request({ type: "subscribe", payload: { tracks } }).catch(() => (this.#wished = ""));
  }

  #speakers({ dominant, speakers }) {
    const of = (participant) => this.#users.get(participant);
    this.emit("speakers", {
      dominant: of(dominant) ?? null,
      speakers: speakers.map(({ participant, loudness }) => ({ user_id: of(participant), loudness })).filter((one) => one.user_id),
    });
  }

  #request(frame) {
    return this.#hooks.request(frame);
  }
}

function encodingsOf(source) {
  if (source === "camera") return LAYERS.map((layer) => ({ ...layer }));
  return source === "screen" ? [{ maxBitrate: SCREEN_BITRATE }] : undefined;
}

function deferred() {
  let resolve, reject;
  const promise = new Promise((...both) => ([resolve, reject] = both));
  promise.catch(() => {}); // whoever waits for it hears of it
  return { promise, resolve, reject };
}

function within(promise, ms = ANSWER) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("The media server did not answer.")), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
