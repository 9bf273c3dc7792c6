// A search field with results below it: people, or rooms.

import { h, icon } from "./dom.js";

const PAUSE = 200; // ms after the last key

/**
 * @param {{label: string, testid: string, find: (text: string) => Promise<object[]>, row: (result: object) => Node,
 *   least?: number, hint: string, none: string}} options `least`: characters from which on it searches
 * @returns {{element: HTMLElement, input: HTMLInputElement, refresh: () => void}}
 */
export function searchList({ label, testid, find, row, least = 2, hint, none }) {
  const input = h("input", {
    type: "search",
    placeholder: label,
    "aria-label": label,
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    dir: "auto",
    dataset: { testid },
  });
  const list = h("ul", { class: "results" });
  const said = h("p", { class: "results-note", role: "status" });
  let timer;
  let turn = 0;

  async function search() {
    const text = input.value.trim();
    const mine = (turn += 1);
    if (text.length < least) {
      list.replaceChildren();
      said.textContent = hint;
      return;
    }
    try {
      const results = await find(text);
      if (mine !== turn) return; // the text has changed since
      list.replaceChildren(...results.map((result) => h("li", {}, row(result))));
      said.textContent = results.length ? "" : none;
    } catch (error) {
      if (mine !== turn) return;
      list.replaceChildren();
      said.textContent = error.message;
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") focusRow(event, list, 0);
    if (event.key === "Enter") event.preventDefault(); // it is no submit of the form around it
  });
  list.addEventListener("keydown", (event) => {
    const rows = [...list.querySelectorAll("button")];
    const at = rows.indexOf(document.activeElement);
    if (event.key === "ArrowDown") focusRow(event, list, at + 1);
    if (event.key === "ArrowUp" && at === 0) input.focus();
    else if (event.key === "ArrowUp") focusRow(event, list, at - 1);
  });
  search();
  const field = h("div", { class: "search-field" }, icon("search"), input);
  return { element: h("div", { class: "search-list" }, field, list, said), input, refresh: search };
}

function focusRow(event, list, at) {
  const row = list.querySelectorAll("button")[at];
  if (!row) return;
  event.preventDefault();
  row.focus();
}
