const REMEMBERED = 5000; // ids of the latest events, to recognise them when they come again
const HELD_AT_MOST = 2000; // live events kept while a sync runs; more are left for the sync to bring

/**
 * The order of events: it tells each one once, in order, and knows how far this tab has come (the cursor).
 *
 * Live events wait while a sync runs, and when the index of a room jumps: what is missing then is usually an ack of our
 * own that is still on its way, else `onGap` fetches it. The cursor moves when an event has been told, never for an
 * ack, which may overtake lower sequences of other people.
 */
export class Timeline {
  /** @type {number | undefined} highest sequence handled */
  cursor = undefined;

  #seen = new Set();
  #rooms = new Map(); // room id -> {last: highest index without a hole before it, ahead: Set of indexes after a hole}
  #held = [];
  #holding = false;
  #overflowed = false;
  #floor = 0; // what lies at or below it was handled before this page was loaded
  #onEvent;
  #onCursor;
  #onGap;

  /**
   * @param {{onEvent: (event: object) => void, onCursor: (cursor: number) => void,
   *   onGap: (roomId: string, after: number, before: number) => void}} hooks
   */
  constructor({ onEvent, onCursor, onGap }) {
    this.#onEvent = onEvent;
    this.#onCursor = onCursor;
    this.#onGap = onGap;
  }

  /** Begin at `cursor`; also used to go back to it. */
  start(cursor) {
    this.cursor = cursor;
    this.#floor = cursor;
  }

  /** Keep live events back until `release()`. */
  hold() {
    this.#holding = true;
    this.#held = [];
    this.#overflowed = false;
  }

  /**
   * Tell what was held and go on live, gaps or not.
   * @returns {boolean} false when more came than could be held: sync again, then release
   */
  release() {
    if (this.#overflowed) {
      this.hold();
      return false;
    }
    this.#holding = false;
    const held = this.#held;
    this.#held = [];
    for (const event of held) this.#tell(event);
    return true;
  }

  /** A live `message` or `room` event. */
  push(event) {
    if (this.#holding) {
      if (this.#held.length < HELD_AT_MOST) this.#held.push(event);
      else this.#overflowed = true;
      return;
    }
    if (this.#held.length) {
      this.#held.push(event); // behind the one that waits for its predecessor
      return;
    }
    const gap = this.#gapBefore(event);
    if (gap === null) {
      this.#tell(event);
      return;
    }
    this.#held.push(event);
    this.#onGap(event.room_id, gap, event.index);
  }

  /** Events that a sync or the repair of a gap has brought. */
  batch(events, cursor) {
    for (const event of events) this.#tell(event);
    if (cursor !== undefined) this.#raise(cursor);
  }

  /** One of our own messages was stored: it will not come live, and it fills its index. */
  own(id, roomId, index) {
    this.#remember(id);
    const room = this.#room(roomId);
    room.ahead.add(index);
    absorb(room);
    if (this.#holding || !this.#held.length) return;
    const first = this.#held[0];
    while (this.#held.length && this.#gapBefore(this.#held[0]) === null) this.#tell(this.#held.shift());
    const next = this.#held[0];
    if (next && next !== first) this.#onGap(next.room_id, this.#gapBefore(next), next.index);
  }

  /** Whether live events wait for a missing one. */
  get waiting() {
    return !this.#holding && this.#held.length > 0;
  }

  #tell(event) {
    const isNew = !this.#seen.has(event.id) && !(event.sequence <= this.#floor);
    this.#remember(event.id);
    if (event.index !== undefined) {
      const room = this.#room(event.room_id);
      if (!(room.last >= event.index)) room.last = event.index;
      absorb(room);
    }
    if (isNew) this.#onEvent(event);
    this.#raise(event.sequence);
  }

  #raise(sequence) {
    if (!Number.isSafeInteger(sequence) || sequence <= this.cursor) return;
    this.cursor = sequence;
    this.#onCursor(sequence);
  }

  #remember(id) {
    if (id === undefined) return;
    this.#seen.add(id);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
  }

  /** @returns {number | null} the last index before the hole, or null when the event follows on what is known */
  #gapBefore(event) {
    const room = this.#rooms.get(event.room_id);
    if (room?.last === undefined || !(event.index > room.last + 1)) return null;
    for (let index = room.last + 1; index < event.index; index += 1) if (!room.ahead.has(index)) return index - 1;
    return null;
  }

  #room(id) {
    let room = this.#rooms.get(id);
    if (!room) this.#rooms.set(id, (room = { last: undefined, ahead: new Set() }));
    return room;
  }
}

/** Move `last` over the indexes behind it that are known already. */
function absorb(room) {
  if (room.last === undefined) return;
  while (room.ahead.has(room.last + 1)) room.last += 1;
  for (const index of room.ahead) if (index <= room.last) room.ahead.delete(index);
}
