const INTERVAL = 2_000; // ms between two looks
const LEVELS = ["good", "fair", "poor", "lost"];

/**
 * How well media comes and goes, from getStats.
 *
 * `onQuality` gets, every two seconds, {user_id, level, loss, rtt, kbps} of everybody who is received, and of ourselves
 * (what the other end says of what we send). `level` is `good`, `fair`, `poor` or `lost` (nothing has come for a
 * while); `loss` a share of 1, `rtt` seconds.
 */
export class Quality {
  #media;
  #me;
  #onQuality;
  #before = new Map(); // stat id -> the counters of the last look
  #timer;

  /** @param {() => object | null} media @param {string} me @param {(quality: object) => void} onQuality */
  constructor(media, me, onQuality) {
    this.#media = media;
    this.#me = me;
    this.#onQuality = onQuality;
    this.#timer = setInterval(() => this.look(), INTERVAL);
  }

  stop() {
    clearInterval(this.#timer);
  }

  async look() {
    const media = this.#media();
    if (!media) return;
    const reports = await Promise.all(media.peers.map((peer) => peer.getStats().catch(() => new Map())));
    const stats = reports.flatMap((report) => [...report.values()]);
    const rtt = Math.max(0, ...stats.filter(isSelected).map((one) => one.currentRoundTripTime ?? 0));
    const found = new Map();
    for (const one of stats) {
      if (one.type === "inbound-rtp") this.#inbound(one, media.ownerOf(one.trackIdentifier), rtt, found);
      if (one.type === "remote-inbound-rtp") note(found, this.#me, { loss: one.fractionLost ?? 0, rtt: one.roundTripTime ?? rtt });
      if (one.type === "outbound-rtp") note(found, this.#me, { rtt, kbps: this.#rate(one.id, one.bytesSent, one.timestamp) });
    }
    for (const [user_id, { silent, heard, ...numbers }] of found) {
      const level = silent && !heard ? "lost" : levelOf(numbers);
      this.#onQuality({ user_id, level, ...numbers });
    }
  }

  #inbound(one, owner, rtt, found) {
    if (!owner) return;
    const before = this.#before.get(one.id);
    const kbps = this.#rate(one.id, one.bytesReceived, one.timestamp, one);
    if (!before) return;
    const lost = Math.max(0, one.packetsLost - before.packetsLost);
    const came = one.packetsReceived - before.packetsReceived;
    // A voice comes all the time, a picture only while there is one.
    const silent = owner.source === "microphone" && came === 0 && one.packetsReceived > 0;
    note(found, owner.user_id, { loss: lost / Math.max(1, lost + came), rtt, kbps, silent, heard: came > 0 });
  }

  #rate(id, bytes, timestamp, one = { bytesSent: bytes }) {
    const before = this.#before.get(id);
    this.#before.set(id, { ...one, bytes, timestamp });
    return before ? (8 * (bytes - before.bytes)) / Math.max(1, timestamp - before.timestamp) : 0;
  }
}

/** The worse of two. */
export function worse(a, b) {
  return LEVELS[Math.max(LEVELS.indexOf(a), LEVELS.indexOf(b))] ?? a;
}

function levelOf({ loss, rtt }) {
  if (loss > 0.1 || rtt > 0.8) return "poor";
  return loss > 0.03 || rtt > 0.35 ? "fair" : "good";
}

function isSelected(one) {
  return one.type === "candidate-pair" && one.nominated && one.state === "succeeded";
}

function note(found, userId, { loss = 0, rtt = 0, kbps = 0, silent = false, heard = false }) {
  const before = found.get(userId) ?? { loss: 0, rtt: 0, kbps: 0, silent: false, heard: false };
  found.set(userId, {
    loss: Math.max(before.loss, loss),
    rtt: Math.max(before.rtt, rtt),
    kbps: before.kbps + kbps,
    silent: before.silent || silent,
    heard: before.heard || heard,
  });
}
