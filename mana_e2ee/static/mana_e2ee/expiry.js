// Deletes what has outlived its age although nothing arrived since. See core/expiry.py.

import { dropOldGroupKeys } from "./groups.js";
import { ARCHIVE_AGE } from "./limits.js";
import { dropOld } from "./ratchet.js";
import { ARCHIVED, GROUP_PEER, SESSION } from "./tables.js";

/** Drops archived sessions, skipped keys and skipped group keys of more than 30 days. */
export async function sweep(tx, now) {
  for (const [key, since] of await tx.scan(ARCHIVED)) {
    if (since + ARCHIVE_AGE >= now) continue;
    tx.delete(ARCHIVED, key);
    tx.delete(SESSION, key);
  }
  for (const [table, drop] of [[SESSION, dropOld], [GROUP_PEER, dropOldGroupKeys]]) {
    for (const [key, state] of await tx.scan(table)) {
      const skipped = new Map(state.skipped);
      if (drop(skipped, now)) tx.put(table, key, { ...state, skipped });
    }
  }
}
