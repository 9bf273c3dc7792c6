// The tables in a store; the names and meanings are those of core/tables.py. Keys are hex text.

import { hex, u32 } from "./encoding.js";

export const DEVICE = "device";
export const COUNTER = "counter";
export const SIGNED_PREKEY = "signed_prekey";
export const KEM_PREKEY = "kem_prekey";
export const ONE_TIME = "one_time";
export const IDENTITY = "identity";
export const DEVICE_LIST = "device_list";
export const SESSION = "session";
export const ACTIVE = "active";
export const ARCHIVED = "archived";
export const HANDSHAKE = "handshake";
export const INBOX = "inbox";
export const ASKED = "asked";
export const ANSWERED = "answered";
export const GROUP_OWN = "group_own";
export const GROUP_PEER = "group_peer";

/** Unix seconds: `now` when the caller gave it, else the system's clock. */
export const clock = (now) => now ?? Math.floor(Date.now() / 1000);

export const idKey = (id) => hex(u32(id));

/** 1, 2, 3 ... per counter; an id is never given twice. */
export async function nextId(tx, counter) {
  const value = ((await tx.get(COUNTER, counter)) ?? 0) + 1;
  tx.put(COUNTER, counter, value);
  return value;
}
