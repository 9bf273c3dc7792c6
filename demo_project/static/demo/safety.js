// Safety numbers: what the encryption of a chat rests on, and how two people make sure of it.

import { busy, openDialog } from "./dialog.js";
import { avatar, h, icon, orToast, toast } from "./dom.js";
import { qrImage } from "./encryptionparts.js";

/** What the lock means here, and whom it is about. */
export async function openLock(context, room, text) {
  const { store, encryption } = context;
  const state = encryption.state(room.id);
  const direct = room.room_type === "direct";
  if (direct && state?.encrypted && room.peer && String(room.peer.user_id) !== store.me.id) return openSafety(context, String(room.peer.user_id));
  const dialog = openDialog({ title: "Encryption", testid: "dialog-lock", className: "narrow" }, h("p", { dir: "auto" }, text));
  if (!state && encryption.eligible(room) && encryption.encrypted.status !== "unsupported") return undefined; // more is not known
  if (!state?.encrypted) {
    dialog.body.append(h("p", { class: "results-note" }, "The server can read what is written here. Direct chats and private groups are encrypted as soon as everybody has a device that can do it."));
    return undefined;
  }
  dialog.body.append(h("p", {}, "Only the devices of the members can read what is written here. Compare safety numbers to be sure of who they are."));
  const people = [...store.thread(room.id).members.values()].filter((one) => String(one.user_id) !== store.me.id);
  const rows = await Promise.all(people.map((one) => personRow(context, state, one, dialog)));
  dialog.body.append(h("ul", { class: "results" }, ...rows.map((row) => h("li", {}, row))));
  return undefined;
}

async function personRow(context, state, member, dialog) {
  const id = String(member.user_id);
  const name = member.display_name || member.username;
  const verified = await context.encryption.encrypted.isVerified(id);
  const says = state.without.includes(id)
    ? "has no keys"
    : state.changed.includes(id)
      ? "keys have changed"
      : state.unknown.includes(id)
        ? "not let in yet"
        : verified
          ? "verified"
          : "not verified";
  return h(
    "button",
    { type: "button", class: "row", disabled: state.without.includes(id), dataset: { testid: "lock-person", userId: id }, onclick: () => (dialog.close(), openSafety(context, id)) },
    avatar(id, name, { className: "medium" }),
    h("span", { class: "row-text" }, h("strong", { dir: "auto" }, name), h("small", {}, says)),
    verified ? icon("shield") : null,
  );
}

/** The safety number with somebody: digits, QR, and what the user says of it. */
export async function openSafety(context, userId) {
  const { encryption } = context;
  const name = encryption.nameOf(userId);
  const dialog = openDialog({ title: "Safety number", testid: "dialog-safety", className: "narrow safety" }, h("p", { class: "results-note" }, "Reckoning…"));
  const render = async () => {
    const found = await orToast(encryption.encrypted.safetyNumber(userId));
    if (!found) {
      dialog.body.replaceChildren(h("p", {}, `${name} has no keys yet.`));
      return;
    }
    dialog.body.replaceChildren(...page(context, userId, name, found, render, dialog));
    dialog.body.scrollTop = 0; // what has changed is said at the top
  };
  await render();
}

/** For who is not in the same room: the number that the other one sees, pasted or typed. */
function comparison(number) {
  const field = h("input", { id: "safety-theirs", inputmode: "numeric", autocomplete: "off", spellcheck: "false", dataset: { testid: "safety-theirs" } });
  const verdict = h("p", { class: "field-help", role: "status", dataset: { testid: "safety-verdict" } });
  field.addEventListener("input", () => {
    const given = field.value.replace(/\D/g, "");
    const same = given === number.digits;
    const length = number.digits.length;
    verdict.dataset.verdict = !given ? "" : given.length < length ? "short" : same ? "same" : "other";
    verdict.textContent = { "": "", short: `${given.length} of ${length} digits`, same: "It is the same number.", other: "It is another number. Do not trust this chat." }[verdict.dataset.verdict];
  });
  return h(
    "details",
    { class: "safety-compare", dataset: { testid: "safety-compare" } },
    h("summary", {}, "Compare by pasting"),
    h("div", { class: "field" }, h("label", { for: "safety-theirs" }, "The number that they see, sent in another way"), field, verdict),
  );
}

function page(context, userId, name, { number, account, verified, changed }, render, dialog) {
  const { encrypted } = context.encryption;
  const groups = number.display.split(" ");
  const digits = h("div", { class: "safety-digits", dataset: { testid: "safety-digits" }, "aria-label": number.display }, ...groups.map((five) => h("span", {}, five)));
  const verify = h("button", { type: "button", class: `button ${verified ? "" : "primary"}`, "aria-pressed": String(verified), dataset: { testid: "safety-verify" } }, verified ? "Clear verification" : "They are the same: verified");
  verify.addEventListener("click", () => busy(verify, () => orToast(encrypted.setVerified(userId, !verified, account).finally(() => render()))));
  const accept = h("button", { type: "button", class: "button primary", dataset: { testid: "safety-accept" } }, "Accept the new keys");
  accept.addEventListener("click", () =>
    busy(accept, async () => {
      try {
        await encrypted.trustAccount(userId, account);
      } catch (error) {
        toast(error.code === "account_changed" ? `${name} has yet other keys since. Compare the new number.` : error.message, "error");
        return render();
      }
      toast("The new keys are used from now on.");
      return dialog.close();
    }),
  );
  const says = changed
    ? h("p", { class: "safety-warning" }, icon("alert"), h("span", { dir: "auto" }, `${name} has new security keys. Ask them, in another way, whether that was them; then compare this number.`))
    : verified
      ? h("p", { class: "safety-verified" }, icon("shield"), h("span", { dir: "auto" }, `You have verified ${name}.`))
      : null;
  return [
    says,
    qrImage(number.qr, "QR code of the safety number", "safety-qr"),
    digits,
    comparison(number),
    h("p", { class: "results-note", dir: "auto" }, `If ${name} sees the same number, only the two of you read what you write to each other. Compare it face to face, or in a call.`),
    h("div", { class: "dialog-actions" }, changed ? accept : verify),
  ].filter(Boolean);
}
