// Repair: signed requests to send again. See core/retry.py.

import { ownIdentity } from "./device.js";
import { Reader, checkBytes, concat, equal, fields, u32, u64, u8 } from "./encoding.js";
import { RETRY_REQUEST, parse } from "./envelope.js";
import { InvalidMessage, RetryRefused, UntrustedIdentity } from "./errors.js";
import { CLOCK_SKEW, RETRY_AGE, RETRY_INTERVAL, VERSION } from "./limits.js";
import { SIGNATURE_SIZE, label, sha256, sign, verify } from "./primitives.js";
import { checkVersion } from "./records.js";
import { findSession } from "./sessions.js";
import { ANSWERED, ASKED, clock } from "./tables.js";
import { pinned } from "./trust.js";

const RETRY_LABEL = label("retry request");

export class RetryRequest {
  constructor({ messageId, sessionId, ratchetKey, number, created, signature = new Uint8Array() }) {
    Object.assign(this, { messageId, sessionId, ratchetKey, number, created, signature });
    Object.freeze(this);
  }

  #body() {
    const ids = [this.messageId, this.sessionId, this.ratchetKey];
    return concat(u8(VERSION), u8(RETRY_REQUEST), ...ids, u32(this.number), u64(this.created));
  }

  signed(requester, sender) {
    return fields(RETRY_LABEL, requester.toBytes(), sender.toBytes(), this.#body());
  }

  toBytes() {
    return concat(this.#body(), this.signature);
  }

  static fromBytes(data) {
    const reader = new Reader(data);
    checkVersion(reader.u8());
    if (reader.u8() !== RETRY_REQUEST) throw new InvalidMessage("not a retry request");
    const request = new RetryRequest({
      messageId: reader.take(32),
      sessionId: reader.take(16),
      ratchetKey: reader.take(32),
      number: reader.u32(),
      created: reader.u64(),
      signature: reader.take(SIGNATURE_SIZE),
    });
    reader.end();
    return request;
  }
}

/** The request to send to `address` after its `message` failed to decrypt; one an hour. */
export async function requestRetry(store, address, message, { now } = {}) {
  const created = clock(now);
  const { sessionId, ratchetKey, number } = parse(address, message).header;
  const messageId = await sha256(checkBytes(message));
  return store.transaction(async (tx) => {
    const asked = await tx.get(ASKED, address.key);
    if (asked !== undefined) checkHour(asked, created);
    tx.put(ASKED, address.key, created);
    const own = await ownIdentity(tx);
    const request = new RetryRequest({ messageId, sessionId, ratchetKey, number, created });
    const signature = await sign(own.signingKey, request.signed(own.record.address, address));
    return new RetryRequest({ ...request, signature });
  });
}

/** Checks a request from `address`; gives the id of the message to encrypt again on a new session. */
export function answerRetry(store, address, request, { now } = {}) {
  const moment = clock(now);
  return store.transaction(async (tx) => {
    const record = await pinned(tx, address);
    if (!record) throw new UntrustedIdentity("there is no known identity for the address");
    const own = await ownIdentity(tx);
    await verify(record.signingKey, request.signature, request.signed(address, own.record.address));
    if (request.created < moment - RETRY_AGE || request.created > moment + CLOCK_SKEW) {
      throw new RetryRefused("the request is too old, or from the future");
    }
    const state = await findSession(tx, address, request.sessionId, moment);
    if (!state || !wasSent(state, request)) throw new RetryRefused("the request names no message that we sent");
    const answered = await tx.get(ANSWERED, address.key);
    if (answered !== undefined) {
      checkHour(answered.at, moment);
      if (request.created <= answered.created) {
        throw new RetryRefused("the request is no newer than the one answered last");
      }
    }
    tx.put(ANSWERED, address.key, { at: moment, created: request.created });
    return request.messageId;
  });
}

function wasSent(state, request) {
  if (equal(request.ratchetKey, state.ownPublic)) return request.number < state.sent;
  return equal(request.ratchetKey, state.previousPublic) && request.number < state.previous;
}

function checkHour(last, now) {
  if (last <= now && now < last + RETRY_INTERVAL) {
    throw new RetryRefused("there was a retry with this device within the hour");
  }
}
