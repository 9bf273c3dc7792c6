// The dialogs of a call: devices and people, and what can be done about somebody.

import { LocalMedia } from "../mana_rtc/calls.js";
import { action } from "./contacts.js";
import { confirmed, openDialog } from "./dialog.js";
import { avatar, h, orToast } from "./dom.js";

const KEY = "demo.call"; // in localStorage: {microphone, camera, speaker, saving}
const SMALL = { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 15, max: 15 } };

/** What was chosen on this device. */
export function callPreferences() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

/** The options of Calls that follow from it. */
export function callOptions() {
  const { microphone, camera, saving } = callPreferences();
  return { devices: { ...(microphone && { microphone }), ...(camera && { camera }) }, video: saving ? SMALL : undefined };
}

function remember(context, change) {
  localStorage.setItem(KEY, JSON.stringify({ ...callPreferences(), ...change }));
  Object.assign(context.calls.options, callOptions());
}

export async function openCallSettings(context, call, tiles) {
  const dialog = openDialog({ title: "Devices and people", testid: "dialog-call", className: "" }, h("p", { class: "results-note" }, "Looking for devices…"));
  const render = async () => {
    const found = await LocalMedia.devices();
    if (!dialog.element.isConnected) return;
    dialog.body.replaceChildren(...devices(context, call, tiles, found), ...people(context, call, dialog));
  };
  navigator.mediaDevices?.addEventListener("devicechange", render);
  const stop = [call.on("ended", dialog.close), call.on("left", render)];
  dialog.element.addEventListener("close", () => {
    navigator.mediaDevices?.removeEventListener("devicechange", render);
    stop.forEach((end) => end());
  });
  await render();
}

function devices(context, call, tiles, found) {
  const preferences = callPreferences();
  const choose = (source) => (id) => {
    remember(context, { [source]: id });
    if (source === "speaker") tiles.setSpeaker(id);
    else orToast(call.setDevice(source, id));
  };
  const saving = h("input", { type: "checkbox", id: "call-saving", checked: Boolean(preferences.saving) });
  saving.addEventListener("change", () => remember(context, { saving: saving.checked }));
  return [
    picker("Microphone", "microphone", found.microphone, call.local.choice.microphone, choose("microphone")),
    picker("Camera", "camera", found.camera, call.local.choice.camera, choose("camera")),
    "setSinkId" in HTMLMediaElement.prototype ? picker("Speaker", "speaker", found.speaker, preferences.speaker, choose("speaker")) : null,
    h("label", { class: "check", for: "call-saving" }, saving, h("span", {}, "Save data", h("small", {}, "A smaller picture, from the next time the camera is turned on."))),
  ].filter(Boolean);
}

function picker(label, source, found, chosen, onChange) {
  const id = `call-${source}`;
  const select = h(
    "select",
    { id, dataset: { testid: `call-device-${source}` }, disabled: !found.length },
    ...(found.length ? found : [{ id: "", label: `No ${label.toLowerCase()} was found` }]).map((one, at) =>
      h("option", { value: one.id, selected: one.id === chosen }, one.label || `${label} ${at + 1}`),
    ),
  );
  select.addEventListener("change", () => onChange(select.value));
  return h("div", { class: "field" }, h("label", { for: id }, label), select);
}

function people(context, call, dialog) {
  const { store } = context;
  const room = store.rooms.get(call.roomId);
  if (!room || room.room_type === "direct") return [];
  const rows = [...call.members.values()].map((one) =>
    h(
      "li",
      { class: "row static", dataset: { testid: "call-person", userId: one.user_id } },
      avatar(one.user_id, store.nameOf(one.user_id, one.username), { className: "medium" }),
      h(
        "span",
        { class: "row-text" },
        h("strong", { dir: "auto" }, one.user_id === call.me ? "You" : store.nameOf(one.user_id, one.username)),
        h("small", {}, one.state === "ringing" ? "ringing" : one.muted ? "muted" : "in the call"),
      ),
    ),
  );
  const parts = [h("h3", {}, "In the call"), h("ul", { class: "results" }, ...rows)];
  if (call.from === call.me || manages(room)) {
    const end = async () => {
      if (!(await confirmed("End the call for everybody?", "Everybody leaves it at once.", "End the call"))) return;
      dialog.close();
      orToast(call.hangUp({ everybody: true }));
    };
    parts.push(h("div", { class: "choices" }, action("hang-up", "End the call for everybody", "call-end-all", end, "danger")));
  }
  return parts;
}

/** What can be done about one of the others. */
export function openCallMember(context, call, userId) {
  const { store } = context;
  const room = store.rooms.get(call.roomId);
  const member = call.members.get(userId);
  if (!member) return;
  const name = store.nameOf(userId, member.username);
  const then = (work) => () => {
    dialog.close();
    orToast(Promise.resolve(work()));
  };
  const isPinned = call.pinned === userId;
  const moderates = room?.room_type !== "direct" && manages(room);
  const numbers = h("p", { class: "results-note", dataset: { testid: "call-numbers" } }, "");
  const dialog = openDialog(
    { title: name, testid: "dialog-call-member", className: "narrow" },
    numbers,
    h(
      "div",
      { class: "choices" },
      action("pin", isPinned ? "No longer large" : "Show large", "call-member-pin", then(() => call.pin(isPinned ? null : userId))),
      moderates && !member.muted ? action("mic-off", `Mute ${name}`, "call-member-mute", then(() => call.mute(userId))) : null,
      moderates ? action("remove", "Remove from the call", "call-member-remove", then(() => call.remove(userId)), "danger") : null,
    ),
  );
  const stop = call.on("quality", (found) => {
    if (found.user_id !== userId) return;
    numbers.textContent = `${Math.round(found.kbps)} kbit/s · ${(100 * found.loss).toFixed(1)} % lost · ${Math.round(1000 * found.rtt)} ms`;
  });
  dialog.element.addEventListener("close", stop);
}

function manages(room) {
  return ["owner", "admin", "moderator"].includes(room?.role);
}
