// The settings of encryption: the user's devices, linking one, and the backup.

import { busy, confirmed } from "./dialog.js";
import { h, icon, iconButton, orToast, toast } from "./dom.js";
import { copyable, qrImage } from "./encryptionparts.js";
import { when } from "./format.js";

export const encryptionPage = document.body.dataset.encryptionUrl
  ? { encryption: ["Encryption", "shield", "Linked devices, backup", encryption] }
  : {};

async function encryption(context) {
  const { encrypted } = context.encryption;
  const { status } = encrypted;
  if (status === "unsupported")
    return [h("p", {}, "This browser can't encrypt here. It takes a secure address (https) and a recent browser.")];
  if (status === "starting") return [h("p", {}, "The keys are looked at as soon as there is a connection.")];
  if (status !== "ready") return unlinked(context);
  const [devices, key] = [await encrypted.devices(), await encrypted.recoveryKey()];
  const named = await context.people.devices().catch(() => []); // what they are called is only for convenience
  const names = new Map(named.map((one) => [one.device_id, one.name || one.platform]));
  return [...linked(context, devices, names), ...backup(context, key)];
}

// A device that is not linked

async function unlinked(context) {
  const { encrypted } = context.encryption;
  const { text, qr } = await encrypted.showLinkCode();
  const stop = encrypted.on("linked", () => {
    stop();
    toast("This device is linked.");
    context.again();
  });
  const key = h("input", { id: "restore-key", autocomplete: "off", spellcheck: "false", autocapitalize: "none", dataset: { testid: "restore-key" } });
  const restore = h("button", { type: "submit", class: "button", dataset: { testid: "restore-do" } }, "Restore");
  const form = h("form", {}, h("div", { class: "field" }, h("label", { for: "restore-key" }, "Recovery key"), key), h("div", { class: "dialog-actions" }, restore));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(restore, async () => {
      const count = await orToast(encrypted.restoreBackup(key.value));
      if (count !== undefined && count !== null) toast(`Restored. ${count} messages came back.`);
    });
  });
  const over = h("button", { type: "button", class: "row danger", dataset: { testid: "start-over" } }, h("span", { class: "row-icon" }, icon("alert")), h("span", { class: "row-text" }, h("strong", {}, "Start over with new keys")));
  over.addEventListener("click", async () => {
    const sure = await confirmed("Start over?", "Your other devices are cut off, what is not backed up can't be read any more, and everybody you write to is warned.", "Start over");
    if (sure) await orToast(encrypted.startOver().then(() => context.again()));
  });
  return [
    h("h3", {}, "Link this device"),
    h("p", {}, "On a device that is linked already, open Settings, Encryption, “Link a device”, and enter this code:"),
    copyable(text, "link-code"),
    qrImage(qr, "QR code of the link code", "link-qr"),
    h("p", { class: "settings-note" }, "It holds for ten minutes. Leave this page open."),
    h("h3", {}, "Or restore the backup"),
    form,
    h("h3", {}, "Neither a device nor the key?"),
    h("div", { class: "choices" }, over),
  ];
}

// One that is

function linked(context, devices, names) {
  const { encrypted } = context.encryption;
  const code = h("input", { id: "link-enter", autocomplete: "off", spellcheck: "false", autocapitalize: "none", placeholder: "abcd-efgh-…", dataset: { testid: "link-enter" } });
  const go = h("button", { type: "submit", class: "button primary", dataset: { testid: "link-do" } }, "Link");
  const form = h("form", {}, h("div", { class: "field" }, h("label", { for: "link-enter" }, "The code that the new device shows"), code), h("div", { class: "dialog-actions" }, go));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(go, async () => {
      const id = await orToast(encrypted.link(code.value));
      if (!id) return;
      toast("The device is linked, and has your messages.");
      context.again();
    });
  });
  return [
    h("h3", {}, "Your devices"),
    h("p", { class: "settings-note" }, "These can read what is written to you."),
    h("ul", { class: "results" }, ...devices.map((device) => h("li", {}, deviceRow(context, device, names.get(device.id))))),
    h("h3", {}, "Link a device"),
    form,
  ];
}

function deviceRow(context, { id, created, current }, given) {
  const { encrypted } = context.encryption;
  const name = current ? "This device" : given || `Device ${id.slice(0, 8)}`;
  // It holds the account key: as long as it is signed in it could vouch for itself again.
  const gone = async () => {
    await encrypted.unlink(id);
    await context.people.removeDevice(id).catch((error) => {
      if (error.status !== 404) throw error;
    });
    await context.again();
  };
  const remove = iconButton("trash", `Remove ${name}`, "own-device-remove", async () => {
    const sure = await confirmed(`Remove ${name}?`, "It is signed out, and can't read anything that is written from now on.", "Remove");
    if (sure) await orToast(gone());
  });
  return h(
    "div",
    { class: "row static", dataset: { testid: "own-device", deviceId: id } },
    h("span", { class: "row-icon" }, icon("device")),
    h("span", { class: "row-text" }, h("strong", { dir: "auto" }, name), h("small", {}, `since ${when(created.toISOString())}`)),
    current ? null : remove,
  );
}

function backup(context, key) {
  const { encrypted } = context.encryption;
  const button = (text, testid, act, className = "button") => {
    const element = h("button", { type: "button", class: className, dataset: { testid } }, text);
    element.addEventListener("click", () => busy(element, act));
    return element;
  };
  const shown = h("div", { class: "recovery-shown" });
  const show = (text) =>
    shown.replaceChildren(
      h("p", {}, "Write it down, or keep it in a password manager. Whoever has it and can sign in as you can read your messages."),
      copyable(text, "recovery-key"),
    );
  const enable = async () => {
    const text = await orToast(encrypted.enableBackup());
    if (!text) return;
    actions.replaceChildren(off);
    show(text);
  };
  const off = button("Delete the backup", "backup-disable", async () => {
    const sure = await confirmed("Delete the backup?", "Without it, and without another device, your messages are lost with this one.", "Delete");
    if (sure) await orToast(encrypted.disableBackup().then(() => context.again()));
  });
  const actions = h(
    "div",
    { class: "dialog-actions" },
    ...(key ? [off, button("Show the recovery key", "backup-show", async () => show(key))] : [button("Back up", "backup-enable", enable, "button primary")]),
  );
  const says = key
    ? "Your keys and newest messages are backed up at the server, which can't read them: only the recovery key opens it."
    : "A backup at the server brings your messages back when you lose this device. Only a recovery key opens it, which you keep.";
  return [h("h3", {}, "Backup"), h("p", {}, says), shown, actions];
}
