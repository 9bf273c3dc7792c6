import { CallError, Emitter } from "./emitter.js";
import { PeerMedia } from "./peer.js";
import { Quality } from "./quality.js";
import { SfuMedia } from "./sfu.js";

const SPEAKING = 250; // ms between two looks at who speaks, from peer to peer
const LOUD = 0.02; // level, of 1, from which on somebody speaks

/** One call: see calls.js for its states and events. */
export class Call extends Emitter {
  id;
  roomId;
  /** `ringing`, `calling`, `connecting`, `connected`, `reconnecting`, `ended` */
  state;
  /** Why it ended. */
  reason = null;
  /** @type {"peer" | "sfu" | null} how media goes */
  via = null;
  /** Everybody in it or rung, us included. @type {Map<string, object>} user id -> member */
  members = new Map();
  /** User id of who has the floor. */
  dominant = null;
  /** When it was answered, ms since the epoch. */
  answeredAt = null;
  /** Counts what was told of its members. */
  revision = 0;
  #touched = new Map(); // user id -> the revision at which something was told of them last
  /** Whether the server can be reached; media may go on without. */
  online = true;
  /** Whether this person does not want a call of somebody else, which may still ring as far as the server knows. */
  isPutDown = false;
  #hooks;
  #media = null;
  #crypto = null;
  #visible = null; // until the page says what is: everything
  #quality = null;
  #speaking = null;
  #entered = false; // the server knows that this session is in it
  #mediaState = "connecting";
  #pinned; // whom we pinned by this page: the server may have missed it
  #earlyKeys = []; // frames that came while we were still entering
  #saidMuted = false; // what the server may have from us: true from when we say so until it has heard that we are not
  #strays = new Map(); // user id -> media of somebody of whom no frame has told yet

  /** Made by Calls. */
  constructor(hooks, fields) {
    super();
    this.#hooks = hooks;
    Object.assign(this, { video: false, encrypted: false, outgoing: false, from: null, username: "", ...fields });
    this.local?.on("track", (change) => this.#localChanged(change));
  }

  get me() {
    return this.#hooks.me();
  }

  /** The others that are in it. */
  get others() {
    return [...this.members.values()].filter((one) => one.user_id !== this.me && one.state === "joined");
  }

  /** Those of them who record it. */
  get recorders() {
    return this.others.filter((one) => one.recording);
  }

  get microphone() {
    return Boolean(this.local?.tracks.get("microphone")?.enabled);
  }

  get camera() {
    return Boolean(this.local?.tracks.has("camera"));
  }

  get screen() {
    return Boolean(this.local?.tracks.has("screen"));
  }

  /** Whether the server has had this device in it. */
  get isIn() {
    return this.#entered && this.state !== "ended";
  }

  /** The RTCPeerConnections that carry it, for statistics. */
  get peers() {
    return this.#media?.peers ?? [];
  }

  // What the person does

  answer(options) {
    return this.#hooks.answer(this, options);
  }

  /** Decline; `busy` says why. */
  async reject({ busy = false } = {}) {
    this.isPutDown = true;
    this.end("rejected");
    await this.#hooks.request({ type: "call_reject", call_id: this.id, payload: busy ? { reason: "busy" } : null });
  }

  /** Leave it. @param {{everybody?: boolean, failed?: boolean}} [how] everybody: it is over for all */
  async hangUp({ everybody = false, failed = false } = {}) {
    const payload = everybody ? { everybody: true } : failed ? { reason: "failed" } : null;
    const known = this.#entered;
    this.isPutDown = !known && !this.outgoing;
    if (!everybody) this.end(failed ? "failed" : "hangup");
    if (!known) return; // Calls takes it back as soon as the server has answered
    await this.#hooks.request({ type: "call_end", call_id: this.id, payload });
  }

  /** @throws {CallError} when it cannot be opened: the call goes on without */
  async setMicrophone(on) {
    const track = this.local.tracks.get("microphone");
    if (track) track.enabled = on; // still open: unmuting is immediate
    else if (on) await this.local.open("microphone");
    else this.local.close("microphone"); // it may be about to open
    this.#tell({ type: "mute", payload: !this.microphone });
    this.changed();
  }

  /** @throws {CallError} */
  async setCamera(on) {
    if (on) await this.local.open("camera");
    else this.local.close("camera");
    this.#tell({ type: "camera_toggle", payload: this.camera });
    this.changed();
  }

  /** @throws {CallError} `permission_denied` also for who changed their mind */
  async shareScreen(on) {
    if (on) await this.local.openScreen();
    else for (const source of ["screen", "screen_audio"]) this.local.close(source);
  }

  /** Another microphone or camera from now on. @throws {CallError} */
  async setDevice(source, id) {
    const { choice, errors, tracks } = this.local;
    const before = choice[source];
    choice[source] = id;
    if (!tracks.has(source)) return;
    try {
      await this.local.open(source);
    } catch (error) {
      if (tracks.has(source)) {
        // The one before goes on.
        choice[source] = before;
        errors.delete(source);
        this.changed();
      }
      throw error;
    }
  }

  /** @param {string | null} userId whom this person wants to see large; others are told */
  pin(userId) {
    this.#pinned = this.#member(this.me).pinned = userId;
    this.#tell({ type: "pin", payload: userId });
    this.changed();
  }

  get pinned() {
    return this.members.get(this.me)?.pinned ?? null;
  }

  /** Mute somebody; for moderators. They may unmute themselves. */
  mute(userId) {
    return this.#hooks.request({ type: "mute", room_id: this.roomId, to: userId, payload: true });
  }

  /** Take somebody out of it; for moderators. */
  remove(userId) {
    return this.#hooks.request({ type: "call_end", call_id: this.id, to: userId });
  }

  /** Who is visible, and how large (SfuMedia.setWishes). */
  setVisible(visible) {
    this.#visible = visible;
    this.#media?.setWishes(visible);
  }

  /** The network has changed: media looks for its way anew. */
  networkChanged() {
    this.#media?.restart();
  }

  // What Calls tells it

  /** Everybody, as a frame or REST lists them, who was asked at revision `since`: what was told after that holds. */
  setMembers(list, since = this.revision) {
    const isNewer = (id) => this.#touched.get(id) > since;
    const seen = new Set();
    for (const one of list ?? []) {
      seen.add(one.user_id);
      if (!isNewer(one.user_id)) this.#take(one);
    }
    for (const id of this.members.keys()) if (!seen.has(id) && id !== this.me && !isNewer(id)) this.#left(id, "left");
    this.#follow();
    this.changed();
  }

  /** One of them has changed, or left. */
  setMember(one, reason) {
    this.#take(one);
    if (one.state !== "joined" && one.state !== "ringing") this.#left(one.user_id, reason);
    this.#follow();
    this.changed();
  }

  /** Whether somebody of whom was told is in it no more. */
  hasLeft(userId) {
    return this.#touched.has(userId) && !this.members.has(userId);
  }

  /** mute, camera_toggle, screen_share_start, screen_share_stop, pin */
  stateFrame({ type, from, to, payload }) {
    const member = this.members.get(type === "mute" ? (to ?? from) : from);
    if (!member) return; // they have left, and another node told that first
    this.#touch(member.user_id);
    if (type === "mute" && to !== undefined && to !== null) {
      member.muted = true;
      if (to === this.me) this.#mutedBy(from);
    } else {
      if (from === this.me) return; // another tab of ours can't be in it
      if (type === "mute") member.muted = payload;
      else if (type === "camera_toggle") member.camera = payload;
      else if (type === "pin") member.pinned = payload || null;
      else member.screen = type === "screen_share_start";
    }
    this.changed();
  }

  /** The server has us in it, by this session: media begins, or goes on. */
  entered() {
    const again = this.#entered;
    this.#entered = true;
    this.online = true;
    this.#member(this.me).state = "joined";
    if (again) {
      this.#media?.resume();
      this.#crypto?.refresh();
    }
    this.#follow();
    this.#tellState();
    this.changed();
  }

  offline() {
    this.online = false;
    this.changed();
  }

  receive(frame) {
    if (frame.type === "call_key" && !this.#crypto) this.#earlyKeys.push(frame);
    else if (frame.type === "call_key") this.#crypto.receiveKey(frame);
    else this.#media?.receive(frame);
  }

  /** It is over for this device. */
  end(reason) {
    if (this.state === "ended") return;
    this.reason = reason;
    this.state = "ended"; // what closes now is nobody's news: the call may go on on another device
    this.#quality?.stop();
    clearInterval(this.#speaking);
    this.#media?.close();
    this.#media = null;
    this.#crypto?.close();
    this.local?.closeAll();
    this.emit("ended", { reason });
    this.changed();
    this.#hooks.ended(this);
  }

  changed() {
    this.emit("change");
  }

  /** Whether what somebody sends can be decrypted. */
  keyOf(userId, opens) {
    // Of nobody else: what they sent before they left.
    const member = this.members.get(userId) ?? this.#strays.get(userId);
    if (!member) return;
    member.opens = opens;
    this.emit("key", { user_id: userId, opens });
    this.changed();
  }

  // Media

  /** Begin with media as soon as somebody is there whom it could go to; go on with who they are now. */
  #follow() {
    if (!this.#entered || this.state === "ended") return;
    if (this.others.length && this.answeredAt === null) this.answeredAt = Date.now();
    this.#settle();
    this.#crypto?.setMembers(this.others);
    if (this.#media instanceof PeerMedia && this.others.length) this.#media.follow(this.#peerOf());
    if (this.#media) return;
    const media = this.payload?.media === "peer" ? "peer" : "sfu";
    if (media === "peer" && !this.others.length) return; // nobody has answered
    if (this.encrypted && !this.#crypto) {
      this.#crypto = this.#hooks.crypto(this);
      this.#crypto.setMembers(this.others);
      for (const frame of this.#earlyKeys.splice(0)) this.#crypto.receiveKey(frame);
    }
    if (media === "peer" || !this.#hooks.hasSfu()) this.#startPeer();
    else this.#startSfu();
  }

  #peerOf() {
    const { user_id, session_id } = this.others[0];
    return { user_id, session_id };
  }

  #startPeer() {
    this.via = "peer";
    const { request } = this.#hooks;
    const media = new PeerMedia({
      send: (frame) => request({ room_id: this.roomId, ...frame }).catch(() => {}),
      me: this.me,
      callId: this.id,
      remote: this.#peerOf(),
      local: this.local,
      configuration: this.#hooks.configuration,
      crypto: this.#crypto,
      patience: this.#hooks.patience,
    });
    media.on("failed", () => this.#peerFailed());
    media.on("elsewhere", () => this.#hooks.hasSfu() && this.#switch());
    this.#speaking = setInterval(() => this.#listen(), SPEAKING);
    this.#start(media);
  }

  #startSfu() {
    this.via = "sfu";
    const { request } = this.#hooks;
    const media = new SfuMedia({
      request: (frame) => request({ room_id: this.roomId, ...frame }),
      me: this.me,
      local: this.local,
      configuration: this.#hooks.configuration,
      crypto: this.#crypto,
    });
    media.on("speakers", (found) => this.#speakers(found.dominant, found.speakers));
    media.on("layers", (detail) => this.emit("layers", detail));
    media.on("gone", () => this.#hooks.check(this));
    if (this.#visible) media.setWishes(this.#visible);
    this.#start(media);
  }

  #start(media) {
    this.#media = media;
    this.#quality ??= new Quality(() => this.#media, this.me, (found) => this.#qualityOf(found));
    media.on("track", ({ user_id, source, track }) => this.#trackOf(user_id, source, track));
    media.on("state", ({ state }) => this.#set(state));
    media.start();
  }

  /** No way from peer to peer: through the server, and the other one is told to go there as well. */
  #peerFailed() {
    if (!this.others.length) return; // they have left, and the call is about to end
    if (!this.#hooks.hasSfu()) return void this.hangUp({ failed: true }).catch(() => {});
    const { user_id, session_id } = this.#peerOf();
    const payload = { call_id: this.id, media: "sfu" };
    this.#tell({ type: "candidate", to: session_id ?? user_id, candidate: null, payload });
    this.#switch();
  }

  #switch() {
    clearInterval(this.#speaking);
    this.#media?.close();
    for (const member of this.members.values()) member.media = {};
    this.payload = { ...this.payload, media: "sfu" };
    this.#startSfu();
    this.changed();
  }

  #set(state) {
    this.#mediaState = state;
    if (state !== "connected") for (const member of this.members.values()) member.speaking = false; // nobody is heard
    this.#settle();
  }

  /** Until somebody has answered it rings, whatever media does. */
  #settle() {
    const state = this.outgoing && this.answeredAt === null ? "calling" : this.#mediaState;
    if (this.state === "ended" || this.state === state) return;
    this.state = state;
    this.changed();
  }

  #trackOf(userId, source, track) {
    let member = this.members.get(userId) ?? this.#strays.get(userId);
    // The media server was faster than the frame that tells of them; or they left first.
    if (!member && track) this.#strays.set(userId, (member = { media: {} }));
    if (!member) return;
    if (track) member.media[source] = track;
    else delete member.media[source];
    if (!this.members.has(userId)) return;
    this.emit("track", { user_id: userId, source, track });
    this.changed();
  }

  #localChanged({ source, track, error }) {
    if (this.state === "ended") return;
    this.#media?.setTrack(source);
    if (source === "screen") this.#tell({ type: track ? "screen_share_start" : "screen_share_stop" });
    if (!track && !error && source === "microphone") this.#tell({ type: "mute", payload: true }); // unplugged
    if (!track && !error && source === "camera") this.#tell({ type: "camera_toggle", payload: false });
    this.changed();
  }

  #mutedBy(from) {
    this.#saidMuted = true;
    const track = this.local.tracks.get("microphone");
    if (track) track.enabled = false;
    this.emit("muted", { by: from });
  }

  #left(userId, reason) {
    const member = this.members.get(userId);
    this.#strays.delete(userId);
    if (!member) return;
    this.#touch(userId);
    this.members.delete(userId);
    if (this.dominant === userId) this.dominant = null;
    if (this.pinned === userId) this.pin(null);
    this.emit("left", { user_id: userId, username: member.username, reason });
  }

  #speakers(dominant, speakers) {
    this.dominant = dominant;
    const loud = new Set(speakers.map((one) => one.user_id));
    for (const member of this.members.values()) member.speaking = loud.has(member.user_id);
    this.emit("speakers", { dominant, speakers });
    this.changed();
  }

  #listen() {
    const found = [];
    for (const peer of this.peers)
      for (const { receiver } of peer.getTransceivers()) {
        const level = receiver.track.kind === "audio" ? (receiver.getSynchronizationSources()[0]?.audioLevel ?? 0) : 0;
        const owner = level > LOUD && this.#media.ownerOf(receiver.track.id);
        if (owner) found.push({ user_id: owner.user_id, loudness: Math.round(127 * level) });
      }
    const now = found.map((one) => one.user_id).join();
    const before = [...this.members.values()].filter((one) => one.speaking).map((one) => one.user_id).join();
    if (now !== before) this.#speakers(found[0]?.user_id ?? this.dominant, found);
  }

  #qualityOf(found) {
    if (!this.members.has(found.user_id)) return;
    const member = this.#member(found.user_id);
    const before = member.quality;
    member.quality = found.level;
    this.emit("quality", found);
    if (before !== found.level) this.changed();
  }

  #touch(userId) {
    this.#touched.set(userId, (this.revision += 1));
  }

  #take(one) {
    this.#touch(one.user_id);
    const member = Object.assign(this.#member(one.user_id), stateOf(one));
    if (one.user_id === this.me && this.#pinned !== undefined) member.pinned = this.#pinned;
  }

  #member(userId) {
    let member = this.members.get(userId);
    if (!member) {
      member = { user_id: userId, username: "", state: "joined", media: {}, speaking: false, quality: null };
      Object.assign(member, { muted: false, camera: false, screen: false, pinned: null, recording: false });
      Object.assign(member, this.#strays.get(userId)); // media, and whether it opens
      this.#strays.delete(userId);
      this.members.set(userId, member);
      for (const [source, track] of Object.entries(member.media)) this.emit("track", { user_id: userId, source, track });
    }
    return member;
  }

  /** What others see of us. */
  #tellState() {
    const own = this.members.get(this.me);
    if (own?.muted && this.microphone && !this.#saidMuted) this.#mutedBy(null); // by a moderator while we were away, or by ourselves before this page was loaded
    else if (!this.microphone || own?.muted) this.#tell({ type: "mute", payload: !this.microphone });
    if (this.camera !== Boolean(own?.camera)) this.#tell({ type: "camera_toggle", payload: this.camera });
    if (this.screen !== Boolean(own?.screen)) this.#tell({ type: this.screen ? "screen_share_start" : "screen_share_stop" });
    if (this.#pinned !== undefined) this.#tell({ type: "pin", payload: this.#pinned });
  }

  /** A frame whose loss is made good for by the next `entered`. */
  #tell(frame) {
    if (!this.#entered) return;
    const mutes = frame.type === "mute";
    if (mutes && frame.payload) this.#saidMuted = true;
    const told = () => mutes && (this.#saidMuted = frame.payload);
    this.#hooks.request({ room_id: this.roomId, ...frame }).then(told, (error) => {
      if (!["offline", "disconnected", "timeout"].includes(error.code)) this.emit("error", new CallError(error.code, error.message));
    });
  }
}

/** What the server says of somebody; what it leaves out is not so. */
function stateOf({ username, state, session_id = null, muted = false, camera = false, screen = false, pinned = null, recording = false }) {
  return { username, state, session_id, muted, camera, screen, pinned, recording };
}
