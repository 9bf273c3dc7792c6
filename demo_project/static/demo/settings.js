// The user's settings: a list of pages in one drawer.

import { action, nameOf } from "./contacts.js";
import { busy, confirmed, openDialog } from "./dialog.js";
import { avatar, h, icon, iconButton, orToast, toast } from "./dom.js";
import { when } from "./format.js";
import { encryptionPage } from "./linking.js";
import { openProfile, select } from "./profile.js";

const SEEN = [
  ["everyone", "Everyone in a common room"],
  ["contacts", "My contacts"],
  ["nobody", "Nobody"],
];
const WRITERS = [
  ["everyone", "Everyone"],
  ["contacts", "My contacts"],
];
const LEVELS = [
  ["all", "Everything"],
  ["mentions", "Mentions, and what concerns only me"],
  ["none", "Nothing"],
];
const PAGES = {
  privacy: ["Privacy", "eye", "Who sees you, finds you and writes to you", privacy],
  notifications: ["Notifications", "bell", "What notifies you, and when it is quiet", notifications],
  ...encryptionPage,
  devices: ["Devices", "device", "Where you are signed in", devices],
  blocked: ["Blocked people", "block", "", blocked],
  password: ["Password", "lock", "", password],
  account: ["Account", "user", "Username, e-mail address, deletion", account],
};

/** @param {string} [first] the page to begin with */
export function openSettings(context, first) {
  const dialog = openDialog({ title: "Settings", testid: "dialog-settings", className: "drawer" });
  const heading = dialog.element.querySelector("h2");
  const back = iconButton("back", "Back", "settings-back", () => list());
  dialog.element.querySelector(".dialog-head").prepend(back);
  let page = null;
  let stop = [];
  const leave = () => {
    stop.forEach((end) => end());
    stop = [];
  };

  function list() {
    leave();
    const from = page;
    page = null;
    heading.textContent = "Settings";
    back.hidden = true;
    dialog.body.replaceChildren(
      h(
        "div",
        { class: "results first" },
        action("pencil", "Profile", "settings-profile", () => openProfile(context), "", "Picture, name and status"),
        ...Object.entries(PAGES).map(([key, [title, name, note]]) =>
          action(name, title, `settings-${key}`, () => show(key), "", note),
        ),
      ),
    );
    if (from) dialog.body.querySelector(`[data-testid="settings-${from}"]`)?.focus();
  }

  async function show(key) {
    const [title, , , render] = PAGES[key];
    leave();
    page = key;
    heading.textContent = title;
    back.hidden = false;
    dialog.body.replaceChildren(h("p", { class: "results-note" }, "Loading…"));
    back.focus();
    const again = async () => {
      const content = await render({ ...context, again, close: dialog.close });
      if (page === key && content) dialog.body.replaceChildren(...content.filter(Boolean));
    };
    if (key === "blocked") stop.push(context.people.on("contacts", again));
    if (key === "notifications") stop.push(context.people.on("preferences", again));
    await again();
  }

  dialog.element.addEventListener("close", leave);
  list();
  if (first) show(first);
}

/** A choice that is saved when it is made. */
function choice(id, label, options, value, save, help = "") {
  const element = select(id, label, options, value);
  element.addEventListener("change", async () => {
    const saved = await orToast(save(element.value).then(() => true));
    if (saved) toast("Saved.");
    else element.value = value;
  });
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    element,
    help ? h("p", { class: "field-help" }, help) : null,
  );
}

function check(id, label, checked, save, help = "") {
  const box = h("input", { type: "checkbox", id, checked, dataset: { testid: id } });
  box.addEventListener("change", async () => {
    const saved = await orToast(save(box.checked).then(() => true));
    if (saved) toast("Saved.");
    else box.checked = !box.checked;
  });
  return h("label", { class: "check", for: id }, box, h("span", {}, label, help ? h("small", {}, help) : null));
}

async function privacy({ people }) {
  const me = await orToast(people.me());
  if (!me) return null;
  const save = (field) => (value) => people.changeProfile({ [field]: value });
  return [
    choice(
      "last-seen-to",
      "Who sees when you are online",
      SEEN,
      me.last_seen_to,
      save("last_seen_to"),
      "Also when you were last seen.",
    ),
    choice("direct-messages-from", "Who may write to you", WRITERS, me.direct_messages_from, save("direct_messages_from")),
    h("h3", {}, "Who finds you"),
    check(
      "find-by-email",
      "People who know my e-mail address",
      me.find_by_email,
      save("find_by_email"),
      me.email || "You have given none.",
    ),
    check(
      "find-by-phone",
      "People who know my phone number",
      me.find_by_phone,
      save("find_by_phone"),
      me.phone || "You have given none.",
    ),
  ];
}

async function notifications({ people }) {
  const quiet = people.preferences.get("notifications.quiet_hours");
  const level = people.preferences.get("notifications.level") ?? "all";
  const zone = quiet?.time_zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const start = h("input", { type: "time", id: "quiet-start", value: quiet?.start ?? "22:00" });
  const end = h("input", { type: "time", id: "quiet-end", value: quiet?.end ?? "07:00" });
  const hours = (on) =>
    people.prefer("notifications.quiet_hours", on ? { start: start.value, end: end.value, time_zone: zone } : null);
  for (const field of [start, end])
    field.addEventListener("change", async () => {
      if (quiet && start.value && end.value && (await orToast(hours(true).then(() => true)))) toast("Saved.");
    });
  return [
    choice("level", "What notifies me", LEVELS, level, (value) => people.prefer("notifications.level", value)),
    check("quiet", "Quiet hours", Boolean(quiet), hours, "Without sounds, and without push to closed browsers."),
    h(
      "div",
      { class: "times" },
      h("div", { class: "field" }, h("label", { for: "quiet-start" }, "From"), start),
      h("div", { class: "field" }, h("label", { for: "quiet-end" }, "to"), end),
    ),
    h("p", { class: "field-help" }, `Time zone: ${zone}`),
  ];
}

async function devices({ client, people, again }) {
  const [found, signIns] = (await orToast(Promise.all([people.devices(), people.signIns()]))) ?? [];
  if (!found) return null;
  const known = new Map(found.map((device) => [device.device_id, device]));
  const bound = new Set(signIns.map((one) => one.device_id));
  const everywhere = action("logout", "Sign out everywhere", "everywhere", async () => {
    const text = "All devices are signed out, this one too.";
    if (!(await confirmed("Sign out everywhere?", text, "Sign out"))) return;
    if (await orToast(people.signOutEverywhere().then(() => true))) location.assign(document.body.dataset.loginUrl);
  }, "danger");
  const rows = [
    ...signIns.map((one) => ({ one, device: known.get(one.device_id) })),
    ...found.filter((device) => !bound.has(device.device_id)).map((device) => ({ one: null, device })),
  ];
  const isThis = ({ one, device }) => one?.current || (device && device.device_id === client.deviceId);
  return [
    h("h3", {}, "This one"),
    h("ul", { class: "results" }, ...rows.filter(isThis).map((row) => h("li", {}, deviceRow(people, again, row, true)))),
    h("h3", {}, "Others"),
    rows.every(isThis) ? h("p", { class: "results-note" }, "You are signed in nowhere else.") : null,
    h("ul", { class: "results" }, ...rows.filter((row) => !isThis(row)).map((row) => h("li", {}, deviceRow(people, again, row)))),
    h("div", { class: "choices" }, everywhere),
  ];
}

function deviceRow(people, again, { one, device }, current = false) {
  const name = device?.name || device?.platform || platformOf(one) || "Unknown device";
  const at = device?.last_seen_at ?? one?.refreshed_at;
  const note = [
    device?.name && device.platform,
    current || device?.online ? "connected now" : at && `last used ${when(at)}`,
    one?.address,
  ];
  const rename = iconButton("pencil", `Rename ${name}`, "device-rename", () => openRename(people, again, device, name));
  const remove = iconButton("remove", `Sign out ${name}`, device ? "device-remove" : "sign-in-end", async () => {
    if (!(await confirmed(`Sign out ${name}?`, "It is disconnected at once.", "Sign out"))) return;
    const gone = device ? people.removeDevice(device.device_id) : people.endSignIn(one.id);
    if (await orToast(gone.then(() => true))) await again();
  });
  return h(
    "div",
    { class: "row static", dataset: { testid: device ? "device" : "sign-in", deviceId: device?.device_id ?? "" } },
    h("span", { class: "row-icon" }, icon("device")),
    h(
      "span",
      { class: "row-text" },
      h("strong", { dir: "auto" }, name),
      h("small", {}, note.filter(Boolean).join(" · ")),
    ),
    device ? rename : null,
    current ? null : remove,
  );
}

function platformOf(one) {
  const agent = one?.user_agent ?? "";
  return /Firefox|Edg|Chrome|Safari/.exec(agent)?.[0].replace("Edg", "Edge") ?? agent.split(" ")[0].slice(0, 40);
}

function openRename(people, again, device, name) {
  const field = h("input", { id: "device-name", maxlength: "100", value: device.name, placeholder: name, dir: "auto" });
  const save = h("button", { type: "submit", class: "button primary" }, "Save");
  const form = h(
    "form",
    {},
    h("div", { class: "field" }, h("label", { for: "device-name" }, "Name"), field),
    h("div", { class: "dialog-actions" }, save),
  );
  const dialog = openDialog({ title: "Name of the device", testid: "dialog-device", className: "narrow" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(save, async () => {
      if (!(await orToast(people.renameDevice(device.device_id, field.value.trim())))) return;
      dialog.close();
      await again();
    });
  });
}

async function blocked({ people, store }) {
  const rows = await orToast(people.blocked());
  if (!rows) return null;
  for (const { person } of rows) store.remember([person]);
  if (!rows.length) return [h("p", { class: "results-note" }, "You have blocked nobody.")];
  return [
    h(
      "ul",
      { class: "results" },
      ...rows.map(({ person }) => {
        const undo = h(
          "button",
          { type: "button", class: "button", dataset: { testid: "unblock" }, "aria-label": `Unblock ${nameOf(person)}` },
          "Unblock",
        );
        undo.addEventListener("click", () => busy(undo, () => orToast(people.unblock(person.id))));
        return h(
          "li",
          {},
          h(
            "div",
            { class: "row static", dataset: { testid: "blocked", userId: person.id } },
            avatar(person.id, nameOf(person), { className: "medium" }),
            h(
              "span",
              { class: "row-text" },
              h("strong", { dir: "auto" }, nameOf(person)),
              h("small", { dir: "auto" }, `@${person.username}`),
            ),
            undo,
          ),
        );
      }),
    ),
  ];
}

async function password({ people, close }) {
  const fields = [
    ["old-password", "Your password", "current-password"],
    ["new-password", "New password", "new-password"],
    ["new-password-again", "New password, once more", "new-password"],
  ];
  const [old, fresh, again] = fields.map(([id, , autocomplete]) =>
    h("input", { type: "password", id, required: true, maxlength: "1024", autocomplete, dataset: { testid: id } }),
  );
  again.addEventListener("input", () => again.setCustomValidity(""));
  return [
    form(
      "Change the password",
      fields.map(([id, label], position) => field(id, label, [old, fresh, again][position])),
      async () => {
        if (fresh.value !== again.value) {
          again.setCustomValidity("This is not the same.");
          again.reportValidity();
          return;
        }
        await people.changePassword(old.value, fresh.value);
        toast("The password was changed. Other devices are signed out.");
        close();
      },
    ),
  ];
}

async function account({ people, store, close }) {
  const me = await orToast(people.me());
  if (!me) return null;
  const username = h("input", { id: "username", value: me.username, required: true, maxlength: "150", dir: "auto" });
  const email = h("input", { type: "email", id: "email", value: me.email, maxlength: "254", autocomplete: "email" });
  const confirm = h("input", { type: "password", id: "email-password", required: true, autocomplete: "current-password" });
  const last = h("input", { type: "password", id: "delete-password", required: true, autocomplete: "current-password" });
  const changed = (what) => {
    toast(what);
    confirm.value = "";
  };
  return [
    form("Change the username", [field("username", "Username", username)], async () => {
      store.me.username = (await people.changeUsername(username.value)).username;
      changed("The username was changed.");
    }),
    h("h3", {}, "E-mail address"),
    form(
      "Change the address",
      [
        field("email", "Address", email, "To sign in with, and for when you forget the password."),
        field("email-password", "Your password", confirm),
      ],
      async () => {
        await people.changeEmail(email.value, confirm.value);
        changed("The address was changed.");
      },
    ),
    h("h3", {}, "Delete the account"),
    h(
      "p",
      { class: "field-help" },
      "Your profile, contacts and devices are deleted. What you wrote stays in its chats, without your name.",
    ),
    form(
      "Delete the account",
      [field("delete-password", "Your password", last)],
      async () => {
        if (!(await confirmed("Delete the account?", "This can’t be undone.", "Delete"))) return;
        await people.deleteAccount(last.value);
        close();
        location.assign(document.body.dataset.loginUrl);
      },
      "danger",
    ),
  ];
}

function field(id, label, input, help = "") {
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    input,
    help ? h("p", { class: "field-help" }, help) : null,
    h("p", { class: "field-errors", id: `${id}-error`, role: "alert", hidden: true }),
  );
}

/** A form that says what was wrong beside its fields. */
function form(button, fields, save, look = "primary") {
  const submit = h("button", { type: "submit", class: `button ${look}` }, button);
  const general = h("p", { class: "field-errors", role: "alert", hidden: true });
  const element = h("form", { class: "settings-form" }, ...fields, general, h("div", { class: "dialog-actions" }, submit));
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    for (const note of element.querySelectorAll(".field-errors")) note.hidden = true;
    busy(submit, async () => {
      try {
        await save();
      } catch (error) {
        const wrong = Object.keys(error.fields?.fields ?? {})[0];
        const at = wrong && { old_password: 0, username: 0, email: 0, password: fields.length > 1 ? 1 : 0 }[wrong];
        const note = at === undefined ? general : fields[at].querySelector(".field-errors");
        note.textContent = String(wrong ? error.fields.fields[wrong][0] : error.message);
        note.hidden = false;
        if (at !== undefined) fields[at].querySelector("input").focus();
      }
    });
  });
  return element;
}
