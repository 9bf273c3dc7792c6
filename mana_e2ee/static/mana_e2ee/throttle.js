// Slows down an address whose messages fail again and again. Kept in memory, never written. See core/throttle.py.

import { InvalidKey, InvalidMessage, InvalidSignature, Throttled, TooManySkipped } from "./errors.js";
import { MAX_FAILURES, THROTTLE_ADDRESSES, THROTTLE_CEILING } from "./limits.js";

const COSTLY = [InvalidMessage, InvalidSignature, InvalidKey, TooManySkipped];
const throttles = new WeakMap();

/**
 * Runs one try to decrypt: throws Throttled before it, counts the failures that cost cryptography. Call it inside the
 * store's transaction, or a thousand tries made at once would all pass before the first has failed.
 */
export async function guarded(store, address, now, work) {
  if (!throttles.has(store)) throttles.set(store, new Map());
  const failures = throttles.get(store);
  const { count, last } = failures.get(address.key) ?? { count: 0, last: 0 };
  if (count >= MAX_FAILURES) {
    const delay = Math.min(2 ** Math.min(count - MAX_FAILURES, 16), THROTTLE_CEILING);
    if (last <= now && now < last + delay) throw new Throttled(last + delay - now);
  }
  try {
    const result = await work();
    failures.delete(address.key);
    return result;
  } catch (error) {
    if (COSTLY.some((kind) => error instanceof kind)) {
      const before = failures.get(address.key)?.count ?? 0;
      failures.delete(address.key);
      failures.set(address.key, { count: before + 1, last: now });
      if (failures.size > THROTTLE_ADDRESSES) failures.delete(failures.keys().next().value);
    }
    throw error;
  }
}
