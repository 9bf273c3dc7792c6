// The browser client of calls, against a server and a browser that are made up.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Calls } from "../../mana_rtc/static/mana_rtc/calls.js";
import { CallEncryption } from "../../mana_rtc/static/mana_rtc/encryption.js";
import { FakeClient, FakePeer, fakeBrowser, until } from "./callfakes.mjs";

const member = (user_id, state = "joined", more = {}) => ({ user_id, username: `user ${user_id}`, state, session_id: `session ${user_id}`, ...more });
const refused = (code) => () => Promise.reject(Object.assign(new Error(code), { code }));

let browser, client, calls, told;

beforeEach(() => {
  browser = fakeBrowser();
  client = new FakeClient();
  calls = new Calls(client);
  told = [];
  for (const type of ["ring", "ring_end", "current"]) calls.on(type, (detail) => told.push([type, detail]));
});

afterEach(() => calls.current?.end("hangup"));

function ring(fields = {}) {
  const participants = [member("2"), member("1", "ringing")];
  client.tell("call_start", { call_id: "c", room_id: "direct", from: "2", username: "ben", participants, payload: { video: true, media: "peer" }, ...fields });
  return calls.ringing.get("c");
}

/** The media server, as far as signaling goes. */
function mediaServer() {
  let seats = 0;
  const server = { ready: [], tracks: [], refuse: null };
  client.answers.ready = (frame) => {
    if (frame.payload === false) return;
    server.ready.push(frame.payload ?? null);
    if (server.refuse) throw Object.assign(new Error(server.refuse), { code: server.refuse });
    seats += 1;
    const payload = { participant: `p${seats}`, resume: `token ${seats}`, participants: [], tracks: server.tracks };
    client.tell("ready", { room_id: frame.room_id, payload });
  };
  client.answers.sfu_offer = ({ room_id }) => client.tell("sfu_answer", { room_id, sdp: "v=0 answer" });
  return server;
}

async function inGroup() {
  FakePeer.made = [];
  const server = mediaServer();
  client.answers.call_start = ({ call_id }) => ({ call_id, room_id: "group" });
  const call = await calls.start({ room_id: "group", video: true });
  client.calls.set(call.id, { id: call.id, room_id: "group", state: "accepted", participants: [member("1"), member("2")] });
  client.tell("call_accept", { call_id: call.id, room_id: "group", from: "2", session_id: "session 2", participants: [member("1"), member("2")] });
  await until(() => FakePeer.made[0]?.remoteDescription, "the camera is offered and answered");
  for (const peer of FakePeer.made) peer.become("connected");
  await until(() => call.state === "connected", "it is connected");
  return { server, call };
}

test("a call rings, is answered, and both greet each other", async () => {
  const call = ring();
  assert.deepEqual(told, [["ring", call]]);
  assert.deepEqual([call.state, call.username, call.video], ["ringing", "ben", true]);
  client.answers.call_accept = ({ call_id }) => {
    client.tell("call_accept", { call_id, room_id: "direct", from: "1", payload: { video: true, media: "peer" }, participants: [member("1"), member("2")] });
    return { call_id, room_id: "direct" };
  };
  await call.answer();
  assert.equal(calls.current, call);
  assert.equal(call.via, "peer");
  assert.deepEqual([...call.local.tracks.keys()].sort(), ["camera", "microphone"]);
  const [hello] = client.frames("candidate");
  assert.deepEqual([hello.to, hello.payload.hello, hello.payload.call_id], ["session 2", "first", "c"]);

  // The other page answers the greeting: who has the smaller id offers, and all sources have a place.
  const { instance } = hello.payload;
  const from = { room_id: "direct", from: "2", session_id: "session 2" };
  client.tell("candidate", { ...from, candidate: null, payload: { call_id: "c", instance: "theirs", to: instance, hello: "answer" } });
  await until(() => client.frames("offer").length, "an offer is made");
  const [offer] = client.frames("offer");
  assert.deepEqual([offer.payload.to, FakePeer.made[0].transceivers.length], ["theirs", 4]);
  client.tell("answer", { ...from, sdp: "v=0", payload: { call_id: "c", instance: "theirs", to: instance } });
  await until(() => FakePeer.made[0].signalingState === "stable", "it is negotiated");
  FakePeer.made[0].become("connected");
  assert.equal(call.state, "connected");

  // A page that was loaded anew is another instance: it gets a connection of its own.
  client.tell("candidate", { ...from, candidate: null, payload: { call_id: "c", instance: "reloaded", to: null, hello: "first" } });
  await until(() => FakePeer.made.length === 2, "there is a new connection");
  assert.equal(FakePeer.made[0].connectionState, "closed");
  client.tell("call_end", { call_id: "c", room_id: "direct", reason: "hangup" });
  assert.deepEqual([call.state, call.reason, calls.current], ["ended", "hangup", null]);
  assert.equal(FakePeer.made[1].connectionState, "closed");
});

test("ringing stops when another device answers or declines, when it is cancelled, and when it took too long", () => {
  const ends = [
    ["elsewhere", () => client.tell("call_accept", { call_id: "c", room_id: "direct", from: "1", session_id: "phone", participants: [member("1"), member("2")] })],
    ["elsewhere", () => client.tell("call_reject", { call_id: "c", room_id: "direct", from: "1", reason: "rejected" })],
    ["hangup", () => client.tell("call_end", { call_id: "c", room_id: "direct", reason: "hangup" })],
    ["missed", () => client.tell("call_participant", { call_id: "c", room_id: "group", participant: member("1", "missed"), reason: "missed" })],
  ];
  for (const [reason, end] of ends) {
    const call = ring();
    end();
    assert.deepEqual([call.state, call.reason, calls.ringing.size], ["ended", reason, 0]);
    assert.deepEqual(told.at(-1), ["ring_end", { call, reason }]);
  }
});

test("who is not rung hears of a call that goes on", () => {
  client.tell("call_start", { call_id: "c", room_id: "big", from: "2", participants: [member("2")], payload: { video: false } });
  assert.equal(calls.ringing.size, 0);
  assert.deepEqual([...calls.live.get("big").users], ["2"]);
  client.tell("call_end", { call_id: "c", room_id: "big", reason: "hangup" });
  assert.equal(calls.live.has("big"), false);
});

test("a list that was made before a call began or ended is asked for again", async () => {
  let answer;
  const first = new Promise((resolve) => (answer = resolve));
  const answers = [first];
  client.rest.get = () => answers.shift() ?? { results: [] };
  const one = { id: "c", room_id: "group", video: false, from: "2", own_state: "ringing", participants: [member("2"), member("1", "ringing")] };
  const refreshed = calls.refresh();
  client.tell("call_start", { call_id: "c", room_id: "group", from: "2", participants: one.participants, payload: { video: false } });
  client.tell("call_end", { call_id: "c", room_id: "group", reason: "hangup" });
  answer({ results: [one] });
  await refreshed;
  assert.deepEqual([calls.live.size, calls.ringing.size, told.filter(([type]) => type === "ring").length], [0, 0, 1]);
});

test("without devices the call goes on, and others see that nothing comes", async () => {
  browser.refuse("NotAllowedError");
  client.answers.call_start = ({ call_id }) => ({ call_id, room_id: "direct" });
  const call = await calls.start({ to: "2", room_id: "direct", video: true });
  assert.deepEqual([...call.local.errors].map(([source, { code }]) => [source, code]), [["microphone", "permission_denied"], ["camera", "permission_denied"]]);
  assert.equal(client.frames("call_start")[0].payload.video, false);
  assert.equal(client.frames("mute").at(-1).payload, true);
  browser.refuse(null);
  await call.setMicrophone(true);
  assert.equal(client.frames("mute").at(-1).payload, false);
  assert.equal(call.local.errors.has("microphone"), false);
});

test("what is turned off while it is being opened stays off, and another microphone is as muted as the one before", async () => {
  client.answers.call_start = ({ call_id }) => ({ call_id, room_id: "direct" });
  const call = await calls.start({ to: "2", room_id: "direct" });
  const opening = call.setCamera(true);
  await call.setCamera(false);
  await assert.rejects(opening, { code: "cancelled" });
  assert.deepEqual([call.camera, call.local.errors.size], [false, 0]);

  await call.setMicrophone(false);
  const first = call.local.tracks.get("microphone");
  await call.setDevice("microphone", "another");
  const second = call.local.tracks.get("microphone");
  assert.notEqual(second, first);
  assert.deepEqual([first.readyState, second.readyState, second.enabled], ["ended", "live", false]);

  browser.refuse("NotReadableError"); // one that does not work: the one before goes on
  await assert.rejects(call.setDevice("microphone", "broken"), { code: "device_busy" });
  assert.deepEqual([call.local.tracks.get("microphone"), call.local.errors.size], [second, 0]);
  assert.equal(call.local.choice.microphone, "another");
});

test("a call that is refused ends, and one that was hung up meanwhile is taken back", async () => {
  client.answers.call_start = refused("blocked");
  await assert.rejects(calls.start({ to: "2", room_id: "direct" }), { code: "blocked" });
  assert.equal(calls.current, null);

  let answer;
  client.answers.call_start = ({ call_id }) => new Promise((resolve) => (answer = () => resolve({ call_id, room_id: "direct" })));
  const starting = calls.start({ to: "2", room_id: "direct" });
  await until(() => answer, "the server is asked");
  await calls.current.hangUp();
  assert.equal(client.frames("call_end").length, 0);
  answer();
  await starting;
  assert.equal(client.frames("call_end").length, 1);
});

test("a group's camera is offered in three layers, and only those that are watched are sent", async () => {
  const { call } = await inGroup();
  const [offer] = client.frames("sfu_offer");
  assert.deepEqual(Object.values(offer.payload.sources).sort(), ["camera", "microphone"]);
  const [mid] = Object.entries(offer.payload.sources).find(([, source]) => source === "camera");
  const camera = FakePeer.made[0].transceivers.find((one) => one.mid === mid);
  assert.deepEqual(camera.sender.getParameters().encodings.map((one) => one.rid), ["q", "h", "f"]);
  client.tell("subscribe", { room_id: "group", payload: { track: `p1-${mid}-1`, layers: { q: true, h: false, f: false } } });
  await until(() => !camera.sender.getParameters().encodings[2].active, "the best layer rests");
  assert.deepEqual(camera.sender.getParameters().encodings.map((one) => one.active), [true, false, false]);

  const track = { id: "p2-0-1", kind: "video", source: "camera", participant: "p2", user_id: "2", layers: ["q", "h", "f"] };
  client.tell("track_added", { room_id: "group", payload: track });
  client.tell("sfu_offer", { room_id: "group", sdp: "video 0", payload: { number: 7, tracks: { 0: "p2-0-1" } } });
  await until(() => call.members.get("2").media.camera, "the picture of the other is there");
  assert.equal(client.frames("sfu_answer")[0].payload.number, 7);
  call.setVisible(new Map([["2", { camera: 300 }]]));
  await until(() => client.frames("subscribe").length, "the wish is told");
  assert.deepEqual(client.frames("subscribe")[0].payload.tracks, { "p2-0-1": { enabled: true, max_layer: 1, pinned: false } });
  client.tell("active_speaker", { room_id: "group", payload: { dominant: "p2", speakers: [{ participant: "p2", loudness: 80 }] } });
  assert.deepEqual([call.dominant, call.members.get("2").speaking], ["2", true]);
  client.tell("track_removed", { room_id: "group", payload: track });
  assert.equal(call.members.get("2").media.camera, undefined);
});

test("after a new session it takes its place and its seat again, and a seat that is gone anew", async () => {
  const { server, call } = await inGroup();
  client.tell("welcome", { session_id: "s1" });
  client.tell("state", { state: "offline" });
  assert.equal(call.online, false);
  client.answers.pin = refused("offline");
  call.pin("2");
  delete client.answers.pin;
  client.answers.call_accept = ({ call_id }) => {
    client.tell("call_accept", { call_id, room_id: "group", from: "1", participants: [member("1", "joined", { pinned: null }), member("2")] });
    return { call_id, room_id: "group" };
  };
  client.tell("welcome", { session_id: "s2" });
  await until(() => server.ready.length === 2, "the seat is asked for");
  assert.deepEqual(client.frames("call_accept").map((frame) => frame.call_id), [call.id]);
  assert.deepEqual([server.ready[1], call.online], [{ resume: "token 1" }, true]);
  assert.deepEqual([call.pinned, client.frames("pin").at(-1).payload], ["2", "2"]); // what the lost connection took with it
  await until(() => FakePeer.made[0].restarts, "ICE is restarted");
  assert.equal(FakePeer.made.length, 2); // with the connections that there were

  server.refuse = "not_found";
  client.tell("welcome", { session_id: "s3" });
  await until(() => server.ready.length === 3, "the seat is asked for again");
  server.refuse = null;
  await until(() => FakePeer.made.length === 4, "and joined anew, with new connections");
  assert.deepEqual(server.ready.at(-1), null);
});

test("who is still asked for the microphone enters once, on the new session, and no call is taken for lost", async () => {
  let allow;
  const asked = new Promise((resolve) => (allow = resolve));
  const { getUserMedia } = navigator.mediaDevices;
  navigator.mediaDevices.getUserMedia = async (wanted) => (await asked, getUserMedia(wanted));
  client.answers.call_start = ({ call_id }) => ({ call_id, room_id: "direct" });
  const starting = calls.start({ to: "2", room_id: "direct" });
  await until(() => calls.current, "it is about to begin");
  client.tell("welcome", { session_id: "s2" });
  client.tell("welcome", { session_id: "s3" });
  assert.deepEqual(client.frames("call_accept"), []);
  allow();
  const call = await starting;
  assert.deepEqual([call.state, client.frames("call_start").length], ["calling", 1]);
});

test("a call that is joined twice at once is entered once", async () => {
  client.calls.set("c", { id: "c", room_id: "group", from: "2", video: false, state: "accepted", participants: [member("2")] });
  client.answers.call_accept = () => ({ call_id: "c", room_id: "group" });
  mediaServer();
  calls.options.mustEncrypt = () => new Promise((resolve) => setTimeout(resolve, 10, false));
  const [one, two] = await Promise.all([calls.join("c"), calls.join("c")]);
  assert.equal(one, two);
  assert.equal(await calls.join("c"), one);
  assert.equal(client.frames("call_accept").length, 1);
});

test("a device that has lost the call to another one says nothing more of microphone and camera", async () => {
  const { call } = await inGroup();
  const before = client.sent.length;
  client.tell("call_accept", { call_id: call.id, room_id: "group", from: "1", session_id: "another", participants: [] });
  assert.deepEqual([call.state, call.reason], ["ended", "elsewhere"]);
  assert.deepEqual(client.sent.slice(before).filter(({ type }) => type !== "ready"), []);
});

test("a screen that is chosen after the end of the call is not shared", async () => {
  const { call } = await inGroup();
  let choose;
  const stream = await navigator.mediaDevices.getDisplayMedia();
  navigator.mediaDevices.getDisplayMedia = () => new Promise((resolve) => (choose = resolve));
  const sharing = call.shareScreen(true);
  call.end("hangup");
  choose(stream);
  await assert.rejects(sharing, { code: "cancelled" });
  assert.deepEqual(stream.getTracks().map((track) => track.readyState), ["ended"]);
});

test("who was taken out is not brought back by what is told of them afterwards", async () => {
  const { call } = await inGroup();
  const track = { id: "p2-0-1", kind: "video", source: "camera", participant: "p2", user_id: "2", layers: ["q"] };
  client.tell("track_added", { room_id: "group", payload: track });
  client.tell("sfu_offer", { room_id: "group", sdp: "video 0", payload: { number: 7, tracks: { 0: "p2-0-1" } } });
  await until(() => call.members.get("2").media.camera, "the picture of the other is there");
  client.tell("call_participant", { call_id: call.id, room_id: "group", participant: member("2", "removed"), reason: "removed" });
  client.tell("track_removed", { room_id: "group", payload: track });
  assert.deepEqual([...call.members.keys()], ["1"]);
});

test("a call that was declined does not ring again, whatever the server still thinks", async () => {
  const call = ring();
  client.calls.set("c", { id: "c", room_id: "direct", from: "2", own_state: "ringing", participants: [member("2"), member("1", "ringing")] });
  await call.reject();
  await calls.refresh();
  assert.deepEqual(told.filter(([type]) => type === "ring").length, 1);
  assert.equal(calls.ringing.size, 0);
});

test("what is turned on while the seat is being taken again is published", async () => {
  const { server, call } = await inGroup();
  await call.setCamera(false);
  client.answers.call_accept = ({ call_id }) => ({ call_id, room_id: "group" });
  const ready = client.answers.ready;
  client.answers.ready = (frame) => (call.shareScreen(true).catch(() => {}), ready(frame)); // while it is under way
  client.tell("welcome", { session_id: "s2" });
  await until(() => server.ready.length === 2 && FakePeer.made[0].transceivers.length === 3, "the screen is published");
  assert.equal(FakePeer.made.length, 2);
});

test("a media server that was lost is joined anew", async () => {
  const { server, call } = await inGroup();
  client.tell("ready", { room_id: "group", payload: { lost: "publish" } });
  client.tell("ready", { room_id: "group", payload: { lost: "subscribe" } });
  assert.equal(call.state, "reconnecting");
  await until(() => FakePeer.made.length === 4 && FakePeer.made[2].remoteDescription, "it is joined and offered anew");
  for (const peer of FakePeer.made.slice(2)) peer.become("connected");
  await until(() => call.state === "connected", "it is connected again");
  assert.equal(server.ready.length, 2);
});

test("a media server that is away for minutes is joined when it is back", async (context) => {
  const { server, call } = await inGroup();
  server.refuse = "unavailable";
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const pass = async (seconds) => {
    for (let second = 0; second < seconds; second += 1) {
      context.mock.timers.tick(1_000);
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    }
  };
  client.tell("ready", { room_id: "group", payload: { lost: "seat" } });
  await pass(180);
  assert.equal(call.state, "reconnecting");
  server.refuse = null;
  await pass(6);
  assert.ok(FakePeer.made.at(-2).remoteDescription);
  for (const peer of FakePeer.made.slice(-2)) peer.become("connected");
  assert.equal(call.state, "connected");
});

test("a call that ended while the connection was lost is over, and so is one that another device took", async () => {
  const { call } = await inGroup();
  client.tell("welcome", { session_id: "s1" });
  client.answers.call_accept = refused("conflict");
  client.calls.get(call.id).state = "ended";
  client.calls.get(call.id).reason = "disconnected";
  client.tell("welcome", { session_id: "s2" });
  await until(() => call.state === "ended", "it is over");
  assert.equal(call.reason, "disconnected");

  const { call: other } = await inGroup();
  client.tell("call_participant", { call_id: other.id, room_id: "group", participant: member("1", "joined", { session_id: "tab" }), reason: "moved" });
  assert.equal(other.reason, "elsewhere");
});

test("no way from peer to peer: both go through the media server, and the other one is told", async () => {
  mediaServer();
  calls.options.peerPatience = 20;
  client.answers.call_start = ({ call_id }) => ({ call_id, room_id: "direct" });
  const call = await calls.start({ to: "2", room_id: "direct" });
  client.tell("call_accept", { call_id: call.id, room_id: "direct", from: "2", session_id: "session 2", participants: [member("1"), member("2")] });
  assert.equal(call.via, "peer");
  await until(() => call.via === "sfu", "it gives up");
  assert.equal(client.frames("candidate").at(-1).payload.media, "sfu");
  await until(() => client.frames("sfu_offer").length, "it publishes there");
});

test("a moderator mutes, people unmute themselves, and the pinned one is forgotten when they leave", async () => {
  const { call } = await inGroup();
  client.tell("mute", { room_id: "group", from: "2", to: "1", payload: true });
  assert.equal(call.microphone, false);
  await call.setMicrophone(true);
  assert.equal(call.microphone, true);
  call.pin("2");
  assert.equal(call.pinned, "2");
  client.tell("screen_share_start", { room_id: "group", from: "2" });
  assert.equal(call.members.get("2").screen, true);
  client.tell("call_participant", { call_id: call.id, room_id: "group", participant: member("2", "left"), reason: "hangup" });
  assert.deepEqual([call.pinned, call.others.length], [null, 0]);
});

test("who is muted while a list is on its way that was made before is muted after it", async () => {
  const { call } = await inGroup();
  const before = { id: call.id, room_id: "group", state: "accepted", participants: [member("1"), member("2")] };
  let answer;
  const answers = [new Promise((resolve) => (answer = resolve))];
  const { get } = client.rest;
  client.rest.get = async (path) => (path === `rtc/calls/${call.id}` ? answers.shift() : get(path));
  client.answers.call_accept = ({ call_id }) => ({ call_id, room_id: "group" });
  client.tell("welcome", { session_id: "s1" });
  client.tell("welcome", { session_id: "s2" });
  await until(() => !answers.length, "the list is asked for");
  client.tell("mute", { room_id: "group", from: "2", payload: true });
  client.tell("call_participant", { call_id: call.id, room_id: "group", participant: member("3"), reason: "moved" });
  answer({ ...before, participants: [...before.participants, member("4")] });
  await until(() => call.members.has("4"), "the list has come");
  assert.deepEqual([call.members.get("2").muted, call.members.has("3")], [true, true]);
});

/** The server has us in a call of a group again, and says so with this list. */
function foundAs(own) {
  client.answers.call_accept = ({ call_id }) => {
    client.tell("call_accept", { call_id, room_id: "group", from: "1", participants: [own, member("2")] });
    return { call_id, room_id: "group" };
  };
}

test("who was muted while they were away is silent when they come back, and who unmuted themselves is not", async () => {
  const { server, call } = await inGroup();
  const muted = [];
  call.on("muted", ({ by }) => muted.push(by));
  client.tell("welcome", { session_id: "s1" });
  foundAs(member("1", "joined", { muted: true }));
  client.tell("welcome", { session_id: "s2" });
  await until(() => server.ready.length === 2, "the seat is asked for");
  assert.deepEqual([call.microphone, muted], [false, [null]]);
  assert.deepEqual(client.frames("mute"), []);

  client.answers.mute = refused("offline");
  await call.setMicrophone(true);
  delete client.answers.mute;
  client.tell("welcome", { session_id: "s3" });
  await until(() => server.ready.length === 3, "the seat is asked for");
  assert.deepEqual([call.microphone, client.frames("mute").at(-1).payload, muted], [true, false, [null]]);
});

test("the end of a shared screen that nobody could be told is told by who comes back", async () => {
  const { server, call } = await inGroup();
  client.tell("welcome", { session_id: "s1" });
  await call.shareScreen(true);
  client.answers.screen_share_stop = refused("offline");
  await call.shareScreen(false);
  delete client.answers.screen_share_stop;
  foundAs(member("1", "joined", { screen: true }));
  client.tell("welcome", { session_id: "s2" });
  await until(() => server.ready.length === 2, "the seat is asked for");
  assert.equal(client.frames("screen_share_stop").length, 2);
});

test("who is signed out has no call any more, and nothing rings", async () => {
  const { call } = await inGroup();
  const other = ring();
  client.calls.set("c", { id: "c", room_id: "direct", from: "2", own_state: "ringing", participants: [member("2"), member("1", "ringing")] });
  client.tell("state", { state: "reconnecting" });
  assert.deepEqual([call.state === "ended", other.state], [false, "ringing"]);
  client.tell("state", { state: "closed" });
  assert.deepEqual([call.state, call.reason, other.state, calls.ringing.size], ["ended", "disconnected", "ended", 0]);
  assert.equal(call.local.tracks.size, 0);
  await calls.refresh(); // which an application may still be able to, as somebody else even
  assert.equal(calls.ringing.size, 0);
});

test("a call that was declined without a connection is declined again, and does not ring", async () => {
  const call = ring();
  client.answers.call_reject = refused("offline");
  await assert.rejects(call.reject());
  delete client.answers.call_reject;
  assert.equal(ring(), undefined);
  assert.deepEqual(client.frames("call_reject").map((frame) => frame.call_id), ["c", "c"]);
});

test("a call that is put down while the browser asks for the microphone is declined", async () => {
  let allow;
  const asked = new Promise((resolve) => (allow = resolve));
  const { getUserMedia } = navigator.mediaDevices;
  navigator.mediaDevices.getUserMedia = async (wanted) => (await asked, getUserMedia(wanted));
  const call = ring();
  client.calls.set("c", { id: "c", room_id: "direct", from: "2", own_state: "ringing", participants: [member("2"), member("1", "ringing")] });
  const answering = call.answer();
  await until(() => calls.current, "it is being answered");
  await call.hangUp();
  allow();
  await assert.rejects(answering, { code: "ended" });
  await calls.refresh();
  assert.deepEqual([client.frames("call_reject").length, client.frames("call_accept").length, calls.ringing.size], [1, 0, 0]);
});

test("a call that was put down does not take over the one that is begun next", async () => {
  const call = ring();
  let answer;
  client.answers.call_accept = ({ call_id }) => new Promise((resolve) => (answer = () => resolve({ call_id, room_id: "direct" })));
  const answering = call.answer();
  await until(() => answer, "the server is asked");
  await call.hangUp();
  client.answers.call_start = ({ call_id }) => ({ call_id, room_id: "other" });
  const next = await calls.start({ to: "3" });
  client.tell("call_accept", { call_id: "c", room_id: "direct", from: "1", payload: {}, participants: [member("1"), member("2")] });
  assert.notEqual(next.id, "c");
  answer();
  await answering;
  assert.deepEqual(client.frames("call_end").map((frame) => frame.call_id), ["c"]);
  assert.equal(calls.current, next);
});

test("the list of who comes in takes nobody out whom another node has told of", async () => {
  const { call } = await inGroup();
  const all = [member("1"), member("2"), member("3"), member("4")];
  client.calls.get(call.id).participants = all;
  client.tell("call_accept", { call_id: call.id, room_id: "group", from: "4", session_id: "session 4", participants: [...all] });
  await until(() => call.members.has("3"), "the server is asked for the one of whom nothing was told");
  // It was made before that, at a node that is slower.
  const late = [member("1"), member("2", "joined"), member("3"), member("4", "ringing")];
  const told = [];
  call.on("left", ({ user_id }) => told.push(user_id));
  client.tell("call_accept", { call_id: call.id, room_id: "group", from: "3", session_id: "session 3", participants: late });
  client.tell("call_accept", { call_id: call.id, room_id: "group", from: "3", session_id: "session 3", participants: late.slice(0, 3) });
  await until(() => call.others.length === 3, "all are in it");
  assert.deepEqual([told, call.members.get("4").state], [[], "joined"]);
});

test("what another node tells late of somebody who has left does not bring them back", async () => {
  const { call } = await inGroup();
  client.tell("call_participant", { call_id: call.id, room_id: "group", participant: member("2", "left"), reason: "hangup" });
  for (const type of ["mute", "camera_toggle", "pin"]) client.tell(type, { room_id: "group", from: "2", payload: true });
  client.tell("mute", { room_id: "group", from: "1", to: "2", payload: true });
  call.keyOf("2", false);
  assert.deepEqual([...call.members.keys()], ["1"]);
});

test("who has left is not brought back by a late word of their coming, and who comes back is", async () => {
  const { call } = await inGroup();
  const asked = [];
  const { get } = client.rest;
  client.rest.get = (path) => (path === `rtc/calls/${call.id}` && asked.push(path), get(path));
  client.tell("call_participant", { call_id: call.id, room_id: "group", participant: member("2", "left"), reason: "hangup" });
  const came = { call_id: call.id, room_id: "group", from: "2", session_id: "session 2", participants: [member("1"), member("2")] };
  client.calls.get(call.id).participants = [member("1")];
  client.tell("call_accept", came);
  await until(() => asked.length === 1, "the server is asked");
  client.calls.set(call.id, { ...client.calls.get(call.id), participants: [member("1"), member("2")] });
  for (let times = 0; times < 20; times += 1) client.tell("call_accept", came);
  assert.deepEqual([...call.members.keys()], ["1"]);
  await until(() => call.members.has("2"), "the server says that they are back");
  assert.equal(asked.length, 2); // for all of the twenty
});

test("who declined an encrypted call joins none that is not when they call the same people", async () => {
  await ring({ room_id: "group", payload: { video: true, encrypted: true } }).reject();
  client.answers.call_start = () => {
    client.tell("call_accept", { call_id: "c", room_id: "group", from: "1", payload: { encrypted: true }, participants: [member("1"), member("2")] });
    return { call_id: "c", room_id: "group" };
  };
  await assert.rejects(calls.start({ room_id: "group" }), { code: "no_encryption" });
  assert.deepEqual(client.frames("ready"), []);
});

test("media that is there before its sender is shown when they are", async () => {
  const { call } = await inGroup();
  const track = { id: "p3-0-1", kind: "video", source: "camera", participant: "p3", user_id: "3", layers: ["q"] };
  client.tell("track_added", { room_id: "group", payload: track });
  client.tell("sfu_offer", { room_id: "group", sdp: "video 0", payload: { number: 7, tracks: { 0: "p3-0-1" } } });
  await until(() => client.frames("sfu_answer").length, "it is received");
  call.keyOf("3", false);
  assert.equal(call.members.has("3"), false);
  client.tell("call_participant", { call_id: call.id, room_id: "group", participant: member("3"), reason: "moved" });
  assert.deepEqual([Boolean(call.members.get("3").media.camera), call.members.get("3").opens], [true, false]);
});

test("a step of a connection that was closed meanwhile holds nothing up", async () => {
  const { server, call } = await inGroup();
  FakePeer.made[1].setRemoteDescription = () => new Promise(() => {}); // as browsers do
  client.tell("sfu_offer", { room_id: "group", sdp: "video 0", payload: { number: 1, tracks: {} } });
  client.tell("ready", { room_id: "group", payload: { lost: "publish" } });
  await until(() => server.ready.length === 2 && FakePeer.made.length === 4, "it is joined anew");
  client.tell("sfu_offer", { room_id: "group", sdp: "video 0", payload: { number: 2, tracks: {} } });
  await until(() => client.frames("sfu_answer").length, "what is offered then is answered");
  assert.deepEqual(client.frames("sfu_answer").map((frame) => frame.payload.number), [2]);
  assert.equal(call.state, "reconnecting");
});

test("who goes on with another session of theirs gets a new key", async () => {
  const sealed = [];
  globalThis.Worker = class {
    postMessage({ number }) {
      queueMicrotask(() => this.onmessage({ data: { number } }));
    }

    terminate() {}
  };
  const encryption = new CallEncryption({
    transport: { seal: async (userIds) => (sealed.push(userIds), {}) },
    callId: () => "c",
    roomId: () => "group",
  });
  encryption.setMembers([member("2"), member("3")]);
  await until(() => sealed.length === 1, "all get a key");
  encryption.setMembers([member("3"), member("2")]); // nobody else, in another order
  encryption.setMembers([member("2"), { ...member("3"), session_id: "another" }]);
  await until(() => sealed.length === 2, "the key that their lost session may have been sent is not waited for");
  assert.deepEqual(sealed, [["2", "3"], ["2", "3"]]);
  encryption.close();
});

test("who records a call is known to all in it until they leave", async () => {
  const { call } = await inGroup();
  client.tell("call_accept", { call_id: call.id, room_id: "group", from: "3", participants: [member("1"), member("2"), member("3")] });
  assert.deepEqual(call.recorders, []);
  client.tell("call_participant", { call_id: call.id, room_id: "group", participant: member("3", "joined", { recording: true }), reason: "recording" });
  assert.deepEqual(call.recorders.map((one) => one.user_id), ["3"]);
  client.tell("call_participant", { call_id: call.id, room_id: "group", participant: member("3", "left"), reason: "hangup" });
  assert.deepEqual(call.recorders, []);

  // Who joins late, or has lost frames, finds it so.
  call.setMembers([member("1"), member("2", "joined", { recording: true })]);
  assert.deepEqual(call.recorders.map((one) => one.user_id), ["2"]);
});

test("an encrypted call is no call for who has no keys", async () => {
  await assert.rejects(calls.start({ to: "2", room_id: "direct", encrypted: true }), { code: "no_encryption" });
  const call = ring({ payload: { video: false, media: "peer", encrypted: true } });
  await assert.rejects(call.answer(), { code: "no_encryption" });
  // Another device of this person may have them: nobody was told anything, and it still rings.
  assert.deepEqual(client.sent, []);
  assert.equal(calls.ringing.get("c"), call);
});

test("a call that is not encrypted is left by who was told that the chat is", async () => {
  calls = new Calls(client, { mustEncrypt: async () => true });
  const call = ring();
  client.answers.call_accept = ({ call_id }) => ({ call_id, room_id: "direct" });
  await assert.rejects(call.answer(), { code: "no_encryption" });
  assert.equal(client.frames("call_end").length, 1);
  assert.equal(call.state, "ended");
});
