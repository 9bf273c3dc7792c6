// X3DH (suite 1) and PQXDH with ML-KEM-768 (suite 2). See core/handshake.py.

import { ascii, concat, fields, name, u32, u8 } from "./encoding.js";
import { HandshakeBlock, SESSION_ID_SIZE } from "./envelope.js";
import { DowngradeRefused, UnsupportedVersion } from "./errors.js";
import { decapsulate } from "./kem.js";
import { ED25519, MLKEM768, X25519, encodeKey } from "./keys.js";
import { hkdf, label, sha256, sources, x25519 } from "./primitives.js";
import { SUITE_PQXDH } from "./records.js";

const HANDSHAKE_LABEL = label("handshake");
const TRANSCRIPT_LABEL = label("transcript");
const NONE = ascii("none");

/** The highest suite that both signed records list. */
export function chooseSuite(ours, theirs) {
  const common = ours.filter((suite) => theirs.includes(suite));
  if (common.length === 0) throw new UnsupportedVersion("there is no suite that both devices speak");
  return Math.max(...common);
}

/** TH, 32 bytes. `oneTime` and `kemPublic` may be null. */
export function transcript(block, responder, { signedPrekey, oneTime, kemPublic }) {
  const initiator = block.record;
  return sha256(
    fields(
      TRANSCRIPT_LABEL,
      u8(block.suite),
      name(initiator.address.user),
      name(initiator.address.device),
      name(responder.address.user),
      name(responder.address.device),
      encodeKey(ED25519, initiator.signingKey),
      encodeKey(X25519, initiator.dhKey),
      encodeKey(ED25519, responder.signingKey),
      encodeKey(X25519, responder.dhKey),
      concat(u32(block.signedPrekeyId), encodeKey(X25519, signedPrekey)),
      oneTime === null ? NONE : concat(u32(block.oneTimeId), encodeKey(X25519, oneTime)),
      kemPublic === null ? NONE : concat(u32(block.kemId), encodeKey(MLKEM768, kemPublic), block.kemCiphertext),
      encodeKey(X25519, block.ephemeral),
    ),
  );
}

async function agree(block, transcriptHash, shared) {
  const secret = await hkdf(concat(new Uint8Array(32).fill(0xff), ...shared), {
    salt: new Uint8Array(32),
    info: concat(HANDSHAKE_LABEL, u8(block.suite), transcriptHash),
    length: 32,
  });
  const sessionId = (await sha256(concat(ascii("sid"), transcriptHash))).slice(0, SESSION_ID_SIZE);
  return { secret, transcript: transcriptHash, sessionId, block };
}

/** The initiator's side. `record` and `dhKey` are ours; the caller trusts the bundle's record. */
export async function initiate(record, dhKey, bundle) {
  await bundle.verify();
  const suite = chooseSuite(record.suites, bundle.record.suites);
  const kem = suite === SUITE_PQXDH ? bundle.kemPrekey : null;
  if (suite === SUITE_PQXDH && kem === null) {
    throw new DowngradeRefused("the bundle lacks the KEM key that its device record promises");
  }
  const ephemeral = await sources.x25519();
  const shared = [
    await x25519(dhKey, bundle.signedPrekey.publicKey),
    await x25519(ephemeral.privateKey, bundle.record.dhKey),
    await x25519(ephemeral.privateKey, bundle.signedPrekey.publicKey),
  ];
  if (bundle.oneTime) shared.push(await x25519(ephemeral.privateKey, bundle.oneTime.publicKey));
  let kemCiphertext = new Uint8Array();
  if (kem) {
    const { secret, ciphertext } = await sources.encapsulate(kem.publicKey);
    shared.push(secret);
    kemCiphertext = ciphertext;
  }
  const block = new HandshakeBlock({
    suite,
    record,
    ephemeral: ephemeral.publicKey,
    signedPrekeyId: bundle.signedPrekey.id,
    oneTimeId: bundle.oneTime?.id ?? 0,
    kemId: kem?.id ?? 0,
    kemCiphertext,
  });
  const transcriptHash = await transcript(block, bundle.record, {
    signedPrekey: bundle.signedPrekey.publicKey,
    oneTime: bundle.oneTime?.publicKey ?? null,
    kemPublic: kem?.publicKey ?? null,
  });
  return agree(block, transcriptHash, shared);
}

/** The responder's side. `own` holds {dhKey, signedPrekey, oneTime, kem}, the last two null when not named. */
export async function respond(record, own, block) {
  await block.record.verify();
  if (chooseSuite(record.suites, block.record.suites) !== block.suite) {
    throw new DowngradeRefused("the first message uses a weaker suite than both device records list");
  }
  const shared = [
    await x25519(own.signedPrekey.privateKey, block.record.dhKey),
    await x25519(own.dhKey, block.ephemeral),
    await x25519(own.signedPrekey.privateKey, block.ephemeral),
  ];
  if (own.oneTime) shared.push(await x25519(own.oneTime.privateKey, block.ephemeral));
  if (own.kem) shared.push(await decapsulate(own.kem.secret, block.kemCiphertext));
  const transcriptHash = await transcript(block, record, {
    signedPrekey: own.signedPrekey.publicKey,
    oneTime: own.oneTime?.publicKey ?? null,
    kemPublic: own.kem?.publicKey ?? null,
  });
  return agree(block, transcriptHash, shared);
}
