// Encrypts and decrypts the frames of a call's tracks, away from the page's thread. See sframe.js and encryption.js.

import { FrameOpener, FrameSealer, frameKey } from "./sframe.js";

const TELL = 1_000; // ms between two complaints about somebody's frames

const sealer = new FrameSealer();
const opener = new FrameOpener();
const told = new Map(); // user id -> {opens, at}
const senders = new Map(); // number of a receiving end -> user id
const pictures = new Map(); // the same of pictures -> RTCRtpScriptTransformer

onmessage = async ({ data }) => {
  if (data.type === "streams") pipe(data.options, data.readable, data.writable);
  else if (data.type === "own") sealer.setKey(data.id, await frameKey(data.raw));
  else if (data.type === "forget") opener.forget(data.user);
  else if (data.type === "key") {
    opener.setKey(data.user, data.id, await frameKey(data.raw));
    askAnew(data.user);
  } else if (data.type === "from") {
    senders.set(data.end, data.user);
    askAnew(data.user);
  }
  if (data.number !== undefined) postMessage({ type: "done", number: data.number });
};

self.onrtctransform = ({ transformer }) => {
  const { options, readable, writable } = transformer;
  if (options.direction === "receive" && options.kind === "video") pictures.set(options.end, transformer);
  pipe(options, readable, writable);
};

/** What came before could not be opened: the picture begins with a key frame. */
function askAnew(user) {
  for (const [end, transformer] of pictures)
    if (senders.get(end) === user) transformer.sendKeyFrameRequest?.().catch(() => {});
}

function pipe({ direction, kind, end }, readable, writable) {
  const transform = direction === "send" ? (frame) => sealer.seal(frame.data, kind, frame.type === "key") : (frame) => open(senders.get(end), frame);
  const change = async (frame, controller) => {
    const data = await transform(frame);
    if (!data) return; // dropped
    frame.data = data;
    controller.enqueue(frame);
  };
  readable.pipeThrough(new TransformStream({ transform: change })).pipeTo(writable).catch(() => {}); // the track is gone
}

async function open(user, frame) {
  if (user === undefined) return null;
  const data = await opener.open(user, frame.data);
  const opens = data !== null;
  const before = told.get(user);
  const now = performance.now();
  if (before?.opens !== opens && (opens || now - (before?.at ?? -TELL) > TELL)) {
    told.set(user, { opens, at: now });
    postMessage({ type: "opens", user, opens });
  }
  return data;
}
