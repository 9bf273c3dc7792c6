const TYPING_AGAIN = 3_000; // ms between two `typing` frames while somebody goes on typing
const TYPING_ENDS = 6_000; // ms without a new one until somebody no longer types
const RECEIPT_WAIT = 300; // ms in which receipts of a room become one
const UNANSWERED = new Set(["offline", "disconnected"]);

/** Our typing, throttled, and that of others, which ends by itself when their "stopped" is lost. */
export class Typing {
  #mine = new Map(); // room id -> {at, timer}
  #others = new Map(); // room id + user id -> timer
  #send;
  #onTyping;
  #clock;

  constructor({ send, onTyping, clock }) {
    this.#send = send;
    this.#onTyping = onTyping;
    this.#clock = clock;
  }

  /** Call it at every key press; it sends what is needed, and "stopped" by itself after a pause. */
  mine(roomId, active) {
    const before = this.#mine.get(roomId);
    this.#clock.clearTimeout(before?.timer);
    if (!active) {
      if (this.#mine.delete(roomId)) this.#send({ type: "typing", room_id: roomId, payload: false });
      return;
    }
    const now = this.#clock.now();
    const due = !before || now - before.at >= TYPING_AGAIN;
    if (due) this.#send({ type: "typing", room_id: roomId, payload: true });
    const timer = this.#clock.setTimeout(() => this.mine(roomId, false), TYPING_ENDS);
    this.#mine.set(roomId, { at: due ? now : before.at, timer });
  }

  /** A message ends typing without a frame of its own. */
  sent(roomId) {
    this.#clock.clearTimeout(this.#mine.get(roomId)?.timer);
    this.#mine.delete(roomId);
  }

  received(frame) {
    const key = `${frame.room_id} ${frame.from}`;
    const active = frame.payload !== false;
    this.#clock.clearTimeout(this.#others.get(key));
    if (!this.#others.delete(key) && !active) return;
    if (active) {
      const ends = () => this.received({ ...frame, payload: false });
      this.#others.set(key, this.#clock.setTimeout(ends, TYPING_ENDS));
    }
    this.#onTyping({ ...frame, active });
  }

  reset() {
    for (const { timer } of this.#mine.values()) this.#clock.clearTimeout(timer);
    this.#mine.clear();
  }
}

/** Delivered and read marks: only the highest of a room is worth sending, and again until it is acknowledged. */
export class Receipts {
  #rooms = new Map(); // room id -> {delivered, read}: {wanted, confirmed}
  #timer = null;
  #request;
  #clock;

  /** @param {{request: (frame: object) => Promise<object>, clock: object}} hooks */
  constructor({ request, clock }) {
    this.#request = request;
    this.#clock = clock;
  }

  /** @param {"delivered" | "read"} status everything in the room up to `sequence` */
  mark(roomId, sequence, status) {
    let room = this.#rooms.get(roomId);
    if (!room) this.#rooms.set(roomId, (room = { delivered: mark(), read: mark() }));
    if (room[status].wanted >= sequence || room.read.wanted >= sequence) return;
    room[status].wanted = sequence;
    this.#timer ??= this.#clock.setTimeout(() => this.flush(), RECEIPT_WAIT);
  }

  /** Send what is not confirmed; also after a reconnect. */
  flush() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    for (const [roomId, room] of this.#rooms) {
      this.#flush(roomId, "read", room.read);
      if (room.delivered.wanted > room.read.wanted) this.#flush(roomId, "delivered", room.delivered);
    }
  }

  #flush(roomId, status, entry) {
    const sequence = entry.wanted;
    if (sequence <= Math.max(entry.confirmed, entry.asked)) return;
    entry.asked = sequence;
    this.#request({ type: "receipt", room_id: roomId, sequence, status }).then(
      () => (entry.confirmed = Math.max(entry.confirmed, sequence)),
      (error) => {
        if (UNANSWERED.has(error.code) || error.temporary) {
          if (entry.asked === sequence) entry.asked = 0; // the next flush sends it again
          if (error.retryAfter !== undefined) this.#later(error.retryAfter * 1000);
        } else entry.confirmed = Math.max(entry.confirmed, sequence); // refused for good: we are no longer a member
      },
    );
  }

  #later(ms) {
    this.#timer ??= this.#clock.setTimeout(() => this.flush(), ms);
  }
}

function mark() {
  return { wanted: 0, asked: 0, confirmed: 0 };
}
