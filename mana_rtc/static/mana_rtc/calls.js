/**
 * calls.js: calls in the browser, on a ManaClient. No dependencies, no build step.
 *
 *     import { ManaClient } from "/static/mana/mana.js";
 *     import { Calls } from "/static/mana_rtc/calls.js";
 *
 *     const client = new ManaClient();
 *     const calls = new Calls(client);
 *     calls.on("ring", (call) => confirm(`${call.username} calls`) && call.answer({ video: true }));
 *     calls.on("current", (call) => call?.on("change", () => draw(call)));
 *     client.connect();
 *     const call = await calls.start({ to: "7", video: true }); // or { room_id } for a group
 *
 * Between two, media goes from peer to peer, and through the media server if no way is found; in groups it goes through
 * the media server. Who wants the server for two says `{ media: "sfu" }`.
 *
 * ## States of a Call
 *
 * `ringing` (it rings here) and `calling` (it rings there) -> `connecting` -> `connected` <-> `reconnecting` -> `ended`
 * with a `reason`: `hangup`, `rejected`, `busy`, `missed`, `failed`, `disconnected` (the server's), `removed` (taken out
 * of it by a moderator), `elsewhere` (answered or rejected on another device, or this one lost it to another tab),
 * `refused` (the method's error says why).
 * `call.online` tells whether the server can be reached: media between peers goes on without it.
 *
 * ## Events
 *
 * Of Calls: `ring` (a Call), `ring_end` {call, reason}, `current` (the Call that this device is in, or null), `live`
 * (calls that go on in the user's rooms changed: `calls.live`), `error` (a CallError that belongs to no method).
 *
 * Of a Call: `change` (whatever is shown of it), `track` {user_id, source, track}, `speakers` {dominant, speakers},
 * `quality` {user_id, level, loss, rtt, kbps} (quality.js), `layers` {source, layers} (what is watched of ours), `muted`
 * {by} (null: we have come back to it so), `left` {user_id, username, reason}, `ended` {reason}, `error`, and with
 * encryption `key` {user_id, opens}.
 *
 * Members (`call.members`, by user id) have `username`, `state` (`ringing`, `joined`), `muted`, `camera`, `screen`,
 * `pinned`, `recording`, `speaking`, `quality`, `opens` (with encryption: whether their media can be decrypted), and
 * `media`: {microphone, camera, screen, screen_audio} as MediaStreamTracks. `call.recorders`: those who record it.
 *
 * ## Errors
 *
 * CallError with a `code`: `permission_denied`, `no_device`, `device_busy`, `insecure` (of devices; the call goes on
 * without, `call.local.errors` has them), `cancelled` (turned off while it was being opened), `in_call`, `no_media_server`, `no_encryption`, `ended`. What the server refuses
 * is a ManaError: `conflict`, `forbidden`, `blocked`, `rate_limited` ...
 *
 * ## Recovery
 *
 * By itself: a new WebSocket session, at whichever node, takes its place and its seat at the media server again; a change
 * of network restarts ICE; a media server that is gone is joined anew.
 */
import { Call } from "./call.js";
import { LocalMedia } from "./devices.js";
import { CallError, Emitter } from "./emitter.js";
import { CallEncryption } from "./encryption.js";

export { Call, CallError, LocalMedia };

const PEER_PATIENCE = 12_000; // ms
const AGAIN = 500; // ms between two looks at who is in a call
const FAILURES = 5; // looks that may fail, one after the other
const CANT_ENCRYPT = "This call is end-to-end encrypted, and this device can't do that.";

const RELAYED = ["offer", "answer", "candidate", "call_key"];
const MEDIA = ["ready", "sfu_offer", "sfu_answer", "track_added", "track_removed", "active_speaker", "subscribe"];
const STATE = ["mute", "camera_toggle", "screen_share_start", "screen_share_stop", "pin"];

export class Calls extends Emitter {
  /** The call that this device is in. @type {Call | null} */
  current = null;
  /** Calls that ring here. @type {Map<string, Call>} */
  ringing = new Map();
  /** Calls that go on in the user's rooms: room id -> {call_id, video, from, users, elsewhere}. @type {Map<string, object>} */
  live = new Map();
  #client;
  #options;
  #session = null;
  #ice = null; // {configuration, until}
  #declined = new Set(); // ids of calls: the server may not know yet
  #told = 0; // frames that told of what goes on
  #loading = new Map(); // call -> {again, failures}: whose people the server is being asked for
  #isOut = false; // signed out: nothing that REST may still answer concerns this page

  /**
   * @param {import("../mana/mana.js").ManaClient} client
   * @param {object} [options]
   * @param {object} [options.devices] ids of the chosen devices: {microphone, camera}
   * @param {MediaTrackConstraints} [options.video] what the camera is asked for; default 1280x720, 24 a second
   * @param {object} [options.keyTransport] of end-to-end encryption, see encryption.js; without it there is none
   * @param {(roomId: string) => boolean | Promise<boolean>} [options.mustEncrypt] whether a call in this room that is not
   *   encrypted is refused: the server may have taken away that it should be
   * @param {number} [options.peerPatience] ms that a way from peer to peer may take to be found; then the media server
   *   is used. Default 12000
   */
  constructor(client, options = {}) {
    super();
    this.#client = client;
    this.#options = options;
    this.#session = client.welcome?.session_id ?? null;
    const listen = (types, handle) => types.forEach((type) => client.on(type, (frame) => handle(frame)));
    listen(["welcome"], (frame) => this.#welcomed(frame));
    listen(["state"], ({ state }) => this.#connection(state));
    listen(["call_start", "call_accept", "call_reject", "call_participant", "call_end"], () => (this.#told += 1));
    listen(["call_start"], (frame) => this.#started(frame));
    listen(["call_accept"], (frame) => this.#accepted(frame));
    listen(["call_reject"], (frame) => this.#rejected(frame));
    listen(["call_participant"], (frame) => this.#participant(frame));
    listen(["call_end"], (frame) => this.#ended(frame));
    listen([...RELAYED, ...MEDIA], (frame) => frame.room_id === this.current?.roomId && this.current.receive(frame));
    listen(STATE, (frame) => frame.room_id === this.current?.roomId && this.current.stateFrame(frame));
    const moved = () => this.current?.networkChanged();
    addEventListener("online", moved);
    // It also tells of every new estimate of the speed; another kind of network is what matters.
    let network = navigator.connection?.type;
    navigator.connection?.addEventListener("change", () => {
      if (navigator.connection.type === network) return;
      network = navigator.connection.type;
      moved();
    });
    addEventListener("pagehide", (event) => event.persisted || this.current?.local?.closeAll());
  }

  /** Whether the server has a media server. */
  get hasSfu() {
    return Boolean(this.#client.welcome?.features?.includes("sfu_offer"));
  }

  get options() {
    return this.#options;
  }

  /**
   * Ring somebody (`to`, a user id) or a room; where a call goes on, join it.
   * @param {{to?: string, room_id?: string, video?: boolean, media?: "peer" | "sfu", encrypted?: boolean}} what
   * @returns {Promise<Call>} when it rings there @throws {CallError | ManaError}
   */
  async start({ to, room_id, video = false, media, encrypted = false }) {
    this.#free();
    const path = media ?? (to !== undefined || (await this.#isDirect(room_id)) ? "peer" : "sfu");
    if (path === "sfu" && !this.hasSfu) throw new CallError("no_media_server", "This server has no media server.");
    if (encrypted && !this.#canEncrypt)
      throw new CallError("no_encryption", "This device can't encrypt calls end to end.");
    this.#free();
    const payload = { audio: true, video, media: path, ...(encrypted && { encrypted: true }) };
    const call = this.#make({ id: crypto.randomUUID(), roomId: room_id ?? null, outgoing: true, video, payload, encrypted });
    call.from = this.#client.userId;
    call.state = "calling";
    this.#setCurrent(call);
    await this.#openMedia(call, video);
    return this.#enter(call, { type: "call_start", call_id: call.id, room_id, to, payload: { ...payload, video: call.camera } });
  }

  /** Answer a call that rings here, or join one that goes on (`calls.live`). */
  async join(callId, { video = false } = {}) {
    const ringing = this.ringing.get(callId);
    if (ringing) return this.#answer(ringing, { video });
    if (this.current?.id === callId) return this.current;
    this.#free();
    const found = await this.#client.rest.get(`rtc/calls/${callId}`);
    this.#free();
    if (found.state === "ended") throw new CallError("ended", "The call is over.");
    const call = this.#make({ id: callId, roomId: found.room_id, video: found.video, from: found.from, state: "connecting" });
    call.setMembers(found.participants.filter(isPresent));
    return this.#goIn(call, { video });
  }

  /**
   * What goes on, and what rings, by REST: after a reconnect, or when frames may have been lost. What a frame told
   * meanwhile is newer: then it asks again, and if that goes on, frames are believed.
   */
  async refresh() {
    for (let tries = 0; tries < 3; tries += 1) {
      const told = this.#told;
      const { results } = await this.#client.rest.get("rtc/calls", { live: true });
      if (this.#isOut) return undefined;
      if (this.#told === told) return this.#found(results);
    }
  }

  #found(results) {
    this.live = new Map();
    for (const one of results) {
      this.#note(one.room_id, { call_id: one.id, video: one.video, from: one.from }, one.participants);
      const rings = one.own_state === "ringing" && !this.#declined.has(one.id);
      if (rings && !this.ringing.has(one.id) && this.current?.id !== one.id) this.#ringFrom(one);
    }
    const rings = new Set(results.filter((one) => one.own_state === "ringing").map((one) => one.id));
    for (const call of [...this.ringing.values()]) if (!rings.has(call.id)) this.#stopRinging(call, "missed");
    this.emit("live");
  }

  // Entering

  #make(fields) {
    const { devices, video } = this.#options;
    const hooks = {
      me: () => this.#client.userId,
      request: (frame) => this.#client.request(frame),
      answer: (call, options) => this.#answer(call, options),
      hasSfu: () => this.hasSfu,
      configuration: () => this.#configuration(),
      patience: this.#options.peerPatience ?? PEER_PATIENCE,
      crypto: (call) => this.#encryption(call),
      check: (call) => this.#check(call),
      ended: (call) => this.#over(call),
    };
    return new Call(hooks, { local: new LocalMedia({ choice: devices, video }), ...fields });
  }

  #connection(state) {
    if (state === "online" || state === "syncing") return;
    this.current?.offline();
    if (state !== "closed" && state !== "unauthenticated") return;
    // Signed out, also elsewhere: nothing brings it back, and nobody would be told to stop ringing.
    this.#isOut = true;
    for (const call of [...this.ringing.values()]) this.#stopRinging(call, "disconnected");
    this.current?.end("disconnected");
  }

  #encryption(call) {
    return new CallEncryption({
      transport: this.#options.keyTransport,
      callId: () => call.id,
      roomId: () => call.roomId,
      request: (frame) => this.#client.request(frame),
      onKey: (userId, opens) => call.keyOf(userId, opens),
      onError: (error) => call.emit("error", new CallError("no_encryption", error.message)),
    });
  }

  #free() {
    if (this.current) throw new CallError("in_call", "You are in a call.");
  }

  async #answer(call, { video = call.video } = {}) {
    if (this.current && this.current !== call) await this.current.hangUp().catch(() => {});
    return this.#goIn(call, { video });
  }

  async #goIn(call, { video }) {
    call.mustEncrypt = Boolean(await this.#options.mustEncrypt?.(call.roomId));
    if (this.current?.id === call.id) return this.current; // asked for twice
    this.#free();
    if (call.state === "ended") throw new CallError("ended", "The call is over.");
    // Before anybody is told: answering on a device that can't be in the call would end it for all.
    if (call.payload?.encrypted && !this.#canEncrypt) throw new CallError("no_encryption", CANT_ENCRYPT);
    call.state = "connecting";
    this.#setCurrent(call);
    if (this.ringing.delete(call.id)) this.emit("ring_end", { call, reason: "answered" });
    await this.#openMedia(call, video);
    return this.#enter(call, { type: "call_accept", call_id: call.id, payload: { audio: true, video: call.camera } });
  }

  /** What can be opened is; what can't be is in `call.local.errors`, and the call goes on. */
  async #openMedia(call, video) {
    const sources = video ? ["microphone", "camera"] : ["microphone"];
    await Promise.all(sources.map((source) => call.local.open(source).catch(() => {})));
  }

  async #enter(call, frame) {
    if (call.state === "ended") {
      // Put down while the devices were being opened: it still rings at our others.
      if (call.isPutDown) this.#decline(call.id);
      throw new CallError("ended", "The call is over.");
    }
    try {
      const ack = await this.#client.request(frame);
      if (call.state === "ended") {
        // Hung up while the server was still being asked.
        this.#client.request({ type: "call_end", call_id: ack.call_id }).catch(() => {});
        return call;
      }
      call.id = ack.call_id ?? call.id;
      call.roomId = ack.room_id ?? call.roomId;
      this.#needsEncryption(call);
      call.entered();
      this.#load(call);
      return call;
    } catch (error) {
      call.end("refused");
      throw error;
    }
  }

  #needsEncryption(call) {
    call.encrypted = Boolean(call.payload?.encrypted);
    if (call.encrypted ? this.#canEncrypt : !call.mustEncrypt) return;
    this.#client.request({ type: "call_end", call_id: call.id }).catch(() => {});
    throw new CallError("no_encryption", call.encrypted ? CANT_ENCRYPT : "This chat is encrypted, and this call is not.");
  }

  get #canEncrypt() {
    return Boolean(this.#options.keyTransport && CallEncryption.isSupported);
  }

  /**
   * Who is in it, as the server has it: frames only hint. Of whom a frame tells while it is asked, that is newer. Where several
   * ask for it, the server is asked once, and once more.
   */
  async #load(call) {
    const running = this.#loading.get(call);
    if (running) return void (running.again = true);
    const work = { again: true, failures: 0 };
    this.#loading.set(call, work);
    for (let tries = 0; work.again && call.state !== "ended"; tries += 1) {
      if (tries) await new Promise((resolve) => setTimeout(resolve, AGAIN));
      work.again = false;
      const since = call.revision;
      const found = await this.#client.rest.get(`rtc/calls/${call.id}`).catch((error) => (error.status === 404 ? null : undefined));
      if (found === undefined) work.again = (work.failures += 1) < FAILURES;
      else if (found && call.state !== "ended") this.#loaded(call, found, since);
    }
    this.#loading.delete(call);
  }

  #loaded(call, found, since) {
    if (found.state === "ended") return call.end(found.reason ?? "disconnected");
    if (found.answered_at) call.answeredAt ??= Date.parse(found.answered_at);
    return call.setMembers(found.participants.filter(isPresent), since);
  }

  async #check(call) {
    const found = await this.#client.rest.get(`rtc/calls/${call.id}`).catch((error) => ({ gone: error.status === 404 }));
    if (call.state === "ended" || call !== this.current) return;
    if (found.gone || found.state === "ended") call.end(found.reason ?? "removed");
    else if (found.own_state === "removed") call.end("removed");
    else if (found.own_state && found.own_state !== "joined") await this.#comeBack(call);
  }

  /** After a lost connection: take our place again. */
  async #comeBack(call) {
    try {
      await this.#client.request({ type: "call_accept", call_id: call.id, payload: { audio: true, video: call.camera } });
    } catch (error) {
      if (["offline", "disconnected", "timeout", "unavailable", "rate_limited", "internal"].includes(error.code)) {
        setTimeout(() => call.state !== "ended" && call === this.current && this.#comeBack(call), 1_000);
        return;
      }
      const found = await this.#client.rest.get(`rtc/calls/${call.id}`).catch(() => null);
      call.end(found?.state === "ended" ? (found.reason ?? "disconnected") : error.code === "forbidden" ? "removed" : "elsewhere");
      return;
    }
    if (call.state === "ended") return;
    call.entered();
    this.#load(call);
  }

  #setCurrent(call) {
    this.current = call;
    this.emit("current", call);
  }

  /** Tell the server that a call does not ring here any more. */
  #decline(callId) {
    this.#client.request({ type: "call_reject", call_id: callId, payload: null }).catch(() => {});
  }

  #over(call) {
    if (call.isPutDown) this.#declined.add(call.id);
    if (this.ringing.delete(call.id)) this.emit("ring_end", { call, reason: call.reason });
    if (this.current === call) this.#setCurrent(null);
    this.refresh().catch(() => {});
  }

  // Frames

  #welcomed({ session_id }) {
    this.#isOut = false;
    const again = this.#session !== null && this.#session !== session_id;
    this.#session = session_id;
    if (again && this.current?.isIn) this.#comeBack(this.current); // who is about to enter does so on the new session
    this.refresh().catch(() => {});
  }

  #started(frame) {
    const { call_id, room_id, from, username, payload, participants } = frame;
    const me = this.#client.userId;
    this.#note(room_id, { call_id, video: Boolean(payload?.video), from }, participants);
    this.emit("live");
    const rung = participants?.some((one) => one.user_id === me && one.state === "ringing");
    if (!rung || this.ringing.has(call_id) || this.current?.id === call_id) return;
    if (this.#declined.has(call_id)) return this.#decline(call_id); // the server has not heard of it
    this.#ring({ id: call_id, roomId: room_id, from, username, video: Boolean(payload?.video), payload }, participants);
  }

  #ringFrom(found) {
    const caller = found.participants.find((one) => one.user_id === found.from);
    const fields = { id: found.id, roomId: found.room_id, from: found.from, username: caller?.username ?? "", video: found.video };
    this.#ring(fields, found.participants);
  }

  #ring(fields, participants) {
    const call = this.#make({ ...fields, state: "ringing" });
    call.setMembers(participants?.filter(isPresent));
    this.ringing.set(call.id, call);
    this.emit("ring", call);
  }

  #stopRinging(call, reason) {
    call.end(reason);
  }

  #accepted(frame) {
    const { call_id, room_id, from, session_id, participants, payload } = frame;
    const me = this.#client.userId;
    this.#note(room_id, { call_id }, participants);
    const { current } = this;
    const found = from === me && !session_id; // to this session: the call as it found it
    const here = current && (current.roomId === room_id || (current.roomId === null && !this.#declined.has(call_id)));
    if (found && here && current.id !== call_id && current.state === "calling") {
      // Somebody else had begun one in this room: we are in theirs.
      current.id = call_id;
      current.roomId = room_id;
      current.outgoing = false;
    }
    const ringing = this.ringing.get(call_id);
    if (ringing && from === me && !found) return this.#stopRinging(ringing, "elsewhere");
    if (current?.id === call_id) {
      if (found) current.payload = payload;
      if (from === me && session_id && session_id !== this.#session) return void current.end("elsewhere");
      if (found) current.setMembers(participants);
      else this.#joinedBy(current, from, participants);
    } else ringing?.setMembers(participants);
    this.emit("live");
    return undefined;
  }

  /**
   * Somebody has come into our call. The list of all that comes with it may be older than what another node has told of
   * the others: where it says something else, the server is asked.
   */
  #joinedBy(call, userId, participants) {
    const theirs = participants.find((one) => one.user_id === userId);
    const isLate = call.hasLeft(userId); // or they have come back: the server knows
    if (theirs && !isLate) call.setMember(theirs);
    const others = participants.filter((one) => ![userId, call.me].includes(one.user_id));
    const known = [...call.members.values()].filter((one) => ![userId, call.me].includes(one.user_id));
    const isSame = others.length === known.length && others.every((one) => call.members.get(one.user_id)?.state === one.state);
    if (!isSame || isLate) this.#load(call);
  }

  #rejected({ call_id, from, reason }) {
    const ringing = this.ringing.get(call_id);
    if (ringing && from === this.#client.userId) return this.#stopRinging(ringing, "elsewhere");
    if (this.current?.id === call_id) this.current.setMember({ ...this.current.members.get(from), user_id: from, state: reason }, reason);
    return undefined;
  }

  #participant({ call_id, room_id, participant, reason }) {
    const mine = participant.user_id === this.#client.userId;
    const live = this.live.get(room_id);
    if (live?.call_id === call_id && participant.state !== "joined") live.users.delete(participant.user_id);
    const ringing = this.ringing.get(call_id);
    if (ringing && mine && participant.state !== "ringing") this.#stopRinging(ringing, "missed");
    if (this.current?.id === call_id) {
      if (mine && participant.session_id && participant.session_id !== this.#session) this.current.end("elsewhere");
      else if (!mine) this.current.setMember(participant, reason);
    }
    this.emit("live");
  }

  #ended({ call_id, room_id, reason }) {
    if (reason !== "removed" && this.live.get(room_id)?.call_id === call_id) this.live.delete(room_id);
    const ringing = this.ringing.get(call_id);
    if (ringing) this.#stopRinging(ringing, reason);
    if (this.current?.id === call_id) this.current.end(reason);
    this.emit("over", { call_id, room_id, reason });
    this.emit("live");
  }

  #note(roomId, fields, participants) {
    const before = this.live.get(roomId);
    const users = participants
      ? new Set(participants.filter((one) => one.state === "joined").map((one) => one.user_id))
      : (before?.users ?? new Set());
    this.live.set(roomId, { ...(before?.call_id === fields.call_id && before), ...fields, room_id: roomId, users });
  }

  // Addresses

  async #isDirect(roomId) {
    return (await this.#client.rest.get(`rooms/${roomId}`)).room_type === "direct";
  }

  /** What an RTCPeerConnection is made with; TURN's credentials hold for a while. */
  async #configuration() {
    if (this.#ice && this.#ice.until > Date.now()) return this.#ice.configuration;
    try {
      const { ice_servers, ice_transport_policy, expires_in } = await this.#client.rest.get("rtc/ice-servers");
      const configuration = { iceServers: ice_servers, iceTransportPolicy: ice_transport_policy };
      this.#ice = { configuration, until: Date.now() + (expires_in ? expires_in * 500 : 600_000) };
    } catch {
      if (!this.#ice) return { iceServers: [] }; // for now; the next connection asks again
    }
    return this.#ice.configuration;
  }
}

function isPresent(one) {
  return one.state === "joined" || one.state === "ringing";
}
