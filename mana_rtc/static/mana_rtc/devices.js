import { CallError, Emitter } from "./emitter.js";

/** What a person sends: each is one track. */
export const SOURCES = ["microphone", "camera", "screen", "screen_audio"];

export function kindOf(source) {
  return source === "camera" || source === "screen" ? "video" : "audio";
}

const DEFAULT_VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 24, max: 30 } };

/**
 * The person's microphone, camera and screen.
 *
 * Events: `track` {source, track: MediaStreamTrack | null, error?: CallError} whenever one begins, is another one, or
 * ends: by us, because it was unplugged, or because the person ended sharing in the browser's own bar.
 */
export class LocalMedia extends Emitter {
  /** @type {Map<string, MediaStreamTrack>} */
  tracks = new Map();
  /** Why a source could not be opened. @type {Map<string, CallError>} */
  errors = new Map();
  /** Ids of the chosen devices; absent: what the browser takes. @type {{microphone?: string, camera?: string}} */
  choice;
  #video;
  #closed = false;
  #turns = new Map(); // source -> how often it was closed: what was being opened then is not wanted any more

  /** @param {{choice?: object, video?: MediaTrackConstraints}} [options] video: what the camera is asked for */
  constructor({ choice = {}, video = DEFAULT_VIDEO } = {}) {
    super();
    this.choice = { ...choice };
    this.#video = video;
  }

  /**
   * Open the microphone or the camera; another device in its place is as muted as the one before.
   * @returns {Promise<MediaStreamTrack>} @throws {CallError} `cancelled` if it was closed while it was being opened
   */
  async open(source) {
    const turn = this.#turns.get(source);
    const wanted = this.choice[source] ? { deviceId: { exact: this.choice[source] } } : {};
    const video = source === "camera";
    const settings = video ? { ...this.#video, ...wanted } : wanted;
    try {
      const stream = await this.#ask(() => navigator.mediaDevices.getUserMedia(video ? { video: settings } : { audio: settings }));
      const [track] = stream.getTracks();
      if (turn !== this.#turns.get(source)) {
        track.stop();
        throw new CallError("cancelled", "It was turned off meanwhile.");
      }
      return this.#take(source, track);
    } catch (error) {
      if (error.code === "cancelled") throw error;
      if (error.code === "no_device" && this.choice[source]) {
        delete this.choice[source]; // the chosen one was unplugged: any other will do
        return this.open(source);
      }
      this.errors.set(source, error);
      this.emit("track", { source, track: null, error });
      throw error;
    }
  }

  /** Share the screen, a window or a tab; with its sound where the browser offers that. @throws {CallError} */
  async openScreen() {
    const stream = await this.#ask(() => navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: true }));
    if (this.#closed) {
      for (const track of stream.getTracks()) track.stop();
      throw new CallError("cancelled", "The call is over.");
    }
    const [picture] = stream.getVideoTracks();
    const [sound] = stream.getAudioTracks();
    picture.contentHint = "detail"; // text stays sharp; frames may be fewer
    if (sound) this.#take("screen_audio", sound);
    return this.#take("screen", picture);
  }

  close(source) {
    this.#turns.set(source, (this.#turns.get(source) ?? 0) + 1);
    const track = this.tracks.get(source);
    if (!track) return;
    this.tracks.delete(source);
    track.onended = null;
    track.stop();
    this.emit("track", { source, track: null });
  }

  closeAll() {
    this.#closed = true;
    for (const source of [...this.tracks.keys()]) this.close(source);
  }

  /** @returns {Promise<{microphone: object[], camera: object[], speaker: object[]}>} each {id, label} */
  static async devices() {
    const found = { microphone: [], camera: [], speaker: [] };
    const kinds = { audioinput: "microphone", videoinput: "camera", audiooutput: "speaker" };
    for (const { kind, deviceId, label } of (await navigator.mediaDevices?.enumerateDevices()) ?? [])
      if (kinds[kind] && deviceId) found[kinds[kind]].push({ id: deviceId, label });
    return found;
  }

  #take(source, track) {
    const before = this.tracks.get(source);
    if (before) {
      before.onended = null;
      before.stop();
      track.enabled = before.enabled;
    }
    if (this.#closed) {
      track.stop();
      throw new CallError("ended", "The call is over.");
    }
    this.errors.delete(source);
    this.tracks.set(source, track);
    track.onended = () => this.tracks.get(source) === track && this.close(source);
    this.emit("track", { source, track });
    return track;
  }

  async #ask(open) {
    if (!navigator.mediaDevices) throw new CallError("insecure", "Calls need a page that was loaded over HTTPS.");
    try {
      return await open();
    } catch (error) {
      throw mediaError(error);
    }
  }
}

function mediaError(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new CallError("permission_denied", "The browser was not allowed to use it.");
    case "NotFoundError":
    case "OverconstrainedError":
      return new CallError("no_device", "There is no such device.");
    case "NotReadableError":
    case "AbortError":
      return new CallError("device_busy", "The device is in use by another program, or does not work.");
    default:
      return new CallError("no_device", error.message);
  }
}
