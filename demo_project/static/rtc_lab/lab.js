import { ManaClient } from "../mana/mana.js";
import { Calls } from "../mana_rtc/calls.js";
import { Call } from "./call.js";

const $ = (id) => document.getElementById(id);
const client = new ManaClient();
let call = null;

const welcomed = new Promise((resolve) => client.on("welcome", resolve));
client.connect();

async function join(roomId) {
  await welcomed;
  call = window.lab.call = new Call(client, roomId);
  call.addEventListener("tracks", show);
  call.addEventListener("speaker", ({ detail }) => {
    for (const tile of $("tiles").children) tile.classList.toggle("speaking", tile.dataset.participant === detail.dominant);
  });
  await call.join();
  $("state").textContent = `in the call of ${roomId}`;
  document.body.dataset.joined = "true";
}

/** One tile per picture, one hidden element per sound. */
function show() {
  const wanted = new Map(call.media);
  for (const tile of [...$("tiles").children]) {
    if (wanted.get(tile.dataset.track) === tile.firstChild.srcObject?.getTracks()[0]) wanted.delete(tile.dataset.track);
    else tile.remove();
  }
  for (const [id, track] of wanted) {
    const tile = document.createElement("figure");
    const media = document.createElement(track.kind);
    media.autoplay = media.playsInline = true;
    media.srcObject = new MediaStream([track]);
    tile.dataset.track = id;
    tile.dataset.kind = track.kind;
    tile.dataset.participant = call.tracks.get(id)?.participant ?? "";
    tile.append(media);
    $("tiles").append(tile);
  }
}

async function publishCamera(constraints = { audio: true, video: { width: 1280, height: 720, frameRate: 15 } }) {
  const stream = await navigator.mediaDevices.getUserMedia(constraints);
  const sent = {};
  for (const track of stream.getTracks()) {
    const source = track.kind === "video" ? "camera" : "microphone";
    sent[source] = await call.publish(track, source, stream);
  }
  Object.assign(window.lab.sent, sent);
  return stream;
}

async function publishScreen() {
  const stream = await navigator.mediaDevices.getDisplayMedia();
  window.lab.sent.screen = await call.publish(stream.getVideoTracks()[0], "screen", stream);
}

/** Calls as an application has them, with the keys that were made before, if any were. */
async function useCalls(options = {}) {
  const { LabKeys } = await import("./keys.js");
  window.lab.keys ??= await new LabKeys().make(document.body.dataset.userId);
  window.lab.calls = new Calls(client, { keyTransport: window.lab.keys, ...options });
  window.lab.calls.on("current", (current) => (window.lab.last = current ?? window.lab.last));
  await welcomed;
  await window.lab.calls.refresh();
}

window.lab = { client, join, publishCamera, publishScreen, useCalls, sent: {}, call: null };
$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  join($("room").value);
});
$("camera").addEventListener("click", () => publishCamera());
$("screen").addEventListener("click", () => publishScreen());
$("leave").addEventListener("click", async () => {
  await call?.leave();
  $("state").textContent = "not in a call";
});
