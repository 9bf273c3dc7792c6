// How others see the user: picture, name, status, about.

import { busy, openDialog } from "./dialog.js";
import { avatar, h, icon, iconButton, orToast, setPicture, toast } from "./dom.js";

const EMOJI = ["", "💬", "🟢", "⛔", "📅", "🏝", "🤒", "🎧", "🚆", "🏠", "☕", "🎉"];
const PERIODS = [
  ["", "until I change it"],
  ["30", "for 30 minutes"],
  ["60", "for an hour"],
  ["240", "for four hours"],
  ["1440", "for a day"],
  ["10080", "for a week"],
];

export async function openProfile({ people }) {
  const me = await orToast(people.me());
  if (!me) return;
  setPicture(me.id, me.avatar_url);
  const name = h("input", {
    id: "profile-name",
    maxlength: "100",
    value: me.display_name ?? "",
    placeholder: me.username,
    autocomplete: "nickname",
    dir: "auto",
    dataset: { testid: "profile-name" },
  });
  const about = h(
    "textarea",
    { id: "profile-about", rows: "3", maxlength: "500", dir: "auto", dataset: { testid: "profile-about" } },
    me.about ?? "",
  );
  const status = h("input", {
    id: "profile-status",
    maxlength: "140",
    value: me.status?.text ?? "",
    placeholder: "What are you up to?",
    autocomplete: "off",
    dir: "auto",
    dataset: { testid: "profile-status" },
  });
  const emoji = select("profile-emoji", "Emoji", EMOJI.map((one) => [one, one || "–"]), me.status?.emoji ?? "");
  const period = select("profile-period", "How long", PERIODS, "");
  if (me.status?.expires_at) {
    period.append(h("option", { value: "keep", selected: true }, `until ${until(me.status.expires_at)}`));
    period.value = "keep";
  }
  const save = h("button", { type: "submit", class: "button primary", dataset: { testid: "profile-save" } }, "Save");
  const form = h(
    "form",
    {},
    picture(people, me),
    h("div", { class: "field" }, h("label", { for: "profile-name" }, "Name"), name),
    h(
      "fieldset",
      { class: "field status-field" },
      h("legend", {}, "Status"),
      emoji,
      h("label", { class: "visually-hidden", for: "profile-status" }, "Status"),
      status,
      period,
    ),
    h("div", { class: "field" }, h("label", { for: "profile-about" }, "About you"), about),
    h("div", { class: "dialog-actions" }, save),
  );
  const dialog = openDialog({ title: "Profile", testid: "dialog-profile", className: "narrow" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(save, async () => {
      const saved = await orToast(
        people.changeProfile({
          display_name: name.value.trim(),
          about: about.value.trim(),
          status: chosen(status.value.trim(), emoji.value, period.value, me.status?.expires_at),
        }),
      );
      if (!saved) return;
      dialog.close();
      toast("Saved.");
    });
  });
}

function chosen(text, emoji, period, before) {
  if (!text && !emoji) return null;
  if (period === "keep") return { text, emoji, expires_at: before };
  return { text, emoji, expires_at: period ? new Date(Date.now() + Number(period) * 60_000).toISOString() : null };
}

/** The picture, with what changes it. */
function picture(people, me) {
  const circle = avatar(me.id, me.display_name || me.username, { className: "large" });
  const file = h("input", {
    type: "file",
    class: "visually-hidden",
    id: "profile-picture",
    accept: "image/png,image/jpeg,image/webp,image/gif",
    dataset: { testid: "profile-picture" },
  });
  const remove = iconButton("trash", "Remove the picture", "profile-picture-remove", async () => {
    const changed = await orToast(people.removeAvatar());
    if (changed) show(changed);
  });
  const choose = h("label", { class: "button", for: "profile-picture" }, icon("camera"), "Picture");
  const show = ({ avatar_url }) => {
    setPicture(me.id, avatar_url);
    remove.hidden = !avatar_url;
  };
  file.addEventListener("change", async () => {
    if (!file.files.length) return;
    circle.setAttribute("aria-busy", "true");
    const changed = await orToast(people.setAvatar(file.files[0]));
    circle.removeAttribute("aria-busy");
    file.value = "";
    if (changed) show(changed);
  });
  show(me);
  return h(
    "div",
    { class: "profile-head" },
    circle,
    h("p", { dir: "auto" }, `@${me.username}`),
    h("div", { class: "picture-actions" }, file, choose, remove),
  );
}

export function select(id, label, options, value) {
  const element = h(
    "select",
    { id, "aria-label": label, dataset: { testid: id } },
    ...options.map(([key, text]) => h("option", { value: key }, text)),
  );
  if (!options.some(([key]) => key === value)) element.append(h("option", { value }, value));
  element.value = value;
  return element;
}

const moment = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "numeric", minute: "2-digit" });

function until(timestamp) {
  return moment.format(new Date(timestamp));
}
