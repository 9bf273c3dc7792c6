// Finding people, one of them or several.

import { avatar, h, icon, setPicture } from "./dom.js";
import { searchList } from "./search.js";

/** Search for people; `onPick` gets the one that was chosen. */
export function peopleSearch(
  { client, store },
  onPick,
  { label = "Search people", except = () => false } = {},
) {
  return searchList({
    label,
    testid: "people-search",
    hint: "Type at least two letters of a username, or a whole e-mail address or phone number.",
    none: "Nobody is found by that.",
    find: async (text) => {
      const { results } = await client.rest.get("users", { search: text });
      return results.filter((person) => String(person.id) !== store.me.id && !except(String(person.id)));
    },
    row: (person) =>
      h(
        "button",
        {
          type: "button",
          class: "row",
          dataset: { testid: "person", userId: person.id },
          onclick: () => onPick(person),
        },
        picture(person),
        h(
          "span",
          { class: "row-text" },
          h("strong", { dir: "auto" }, nameOf(person)),
          h("small", { dir: "auto" }, `@${person.username}`),
        ),
      ),
  });
}

/** Search for people and collect them. @returns {{element: HTMLElement, picked: Map<string, object>}} */
export function peoplePicker(context, { except = () => false, onChange = () => {} } = {}) {
  const picked = new Map();
  const chips = h("ul", { class: "chips", "aria-label": "Chosen people" });
  const search = peopleSearch(context, pick, {
    label: "Add people by username",
    except: (id) => picked.has(id) || except(id),
  });

  function pick(person) {
    picked.set(String(person.id), person);
    search.input.value = "";
    search.refresh();
    search.input.focus();
    render();
  }

  function render() {
    chips.replaceChildren(
      ...[...picked].map(([id, person]) => {
        const drop = () => {
          picked.delete(id);
          render();
          search.refresh();
          search.input.focus();
        };
        return h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "chip",
              "aria-label": `Remove ${nameOf(person)}`,
              dataset: { testid: "group-chip", userId: id },
              onclick: drop,
            },
            h("span", { dir: "auto" }, nameOf(person)),
            icon("close"),
          ),
        );
      }),
    );
    onChange(picked);
  }

  return { element: h("div", { class: "people-picker" }, chips, search.element), picked, input: search.input };
}

function picture(person) {
  setPicture(person.id, person.avatar_url);
  return avatar(person.id, nameOf(person), { className: "medium" });
}

function nameOf(person) {
  return person.display_name || person.username;
}
