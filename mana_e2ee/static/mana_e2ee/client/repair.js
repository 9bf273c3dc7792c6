// What does not open is asked for again, and what others could not open is said again. docs/e2ee-clients.md, "Repair".

import { RetryRequest, answerRetry, requestRetry } from "../e2ee.js";
import { hex } from "../encoding.js";
import { GROUP_MESSAGE } from "../envelope.js";
import { RetryRefused } from "../errors.js";
import { Address } from "../records.js";
import { control, invalid, unb64 } from "./contents.js";

const AGAIN = 60_000; // ms between two requests, and two answers, per device and room
const RESENT_AT_MOST = 100;
const ASKED_AT_MOST = 50; // messages of one key request
const REPAIRABLE = new Set(["no_session", "unknown_prekey", "invalid_message", "too_many_skipped", "duplicate_message"]);

export class Repair {
  #context;
  #directory;
  #controls;
  #sender;
  #times = new Map(); // what was asked or answered -> ms

  constructor(context, directory, controls, sender) {
    this.#context = context;
    this.#directory = directory;
    this.#controls = controls;
    this.#sender = sender;
  }

  /** Ask the sending device for what did not open. @param {string} code the core's reason */
  async ask(frame, code) {
    const sender = new Address(String(frame.from), frame.device_id);
    if (sender.equals(this.#context.address)) return;
    const bytes = unb64(frame.payload);
    if (code === "not_a_member") return this.askForLog(frame.room_id, sender);
    if (bytes[1] === GROUP_MESSAGE) {
      if (REPAIRABLE.has(code)) await this.#askForKey(frame.room_id, sender);
      return;
    }
    if (!REPAIRABLE.has(code)) return;
    try {
      const request = await requestRetry(this.#context.store, sender, bytes);
      await this.#controls.deliver([[sender, request.toBytes()]]);
    } catch (error) {
      if (!(error instanceof RetryRefused) && error.code !== "invalid_message") throw error;
    }
  }

  async askForLog(room, sender) {
    if (this.#soon(`log ${room} ${sender.key}`)) return;
    await this.#controls.send(control("log_request", { room }), [sender], { room });
  }

  async #askForKey(room, sender) {
    if (this.#soon(`key ${room} ${sender.key}`)) return;
    const held = (await this.#context.vault.scan("held")).map(([, row]) => row.frame);
    const theirs = held.filter((one) => one.room_id === room && String(one.from) === sender.user && one.device_id === sender.device);
    const messages = theirs.filter((one) => one.type === "message").map((one) => one.id).slice(-ASKED_AT_MOST);
    await this.#controls.send(control("key_request", { room, messages }), [sender], { room });
  }

  #soon(what) {
    if (this.#times.get(what) > Date.now() - AGAIN) return true;
    this.#times.set(what, Date.now());
    return false;
  }

  /** At every connect: what is still held, once for each device. */
  async remind() {
    for (const [, { frame, code }] of await this.#context.vault.scan("held")) await this.ask(frame, code).catch(() => {});
  }

  /** A device could not read something of ours: a new session, and all of it since then. */
  async answer(sender, bytes) {
    const { store, vault } = this.#context;
    const hash = hex(await answerRetry(store, sender, RetryRequest.fromBytes(bytes)));
    const sent = async () => (await vault.scan("sent", `${sender.key}/`)).map(([, row]) => row);
    if (!(await sent()).some((row) => row.hash === hash)) return;
    await this.#directory.sessions([sender], { anew: true });
    const rows = await sent(); // only now: what was written meanwhile was for the old session, too
    const first = Math.max(0, rows.findIndex((row) => row.hash === hash));
    for (const row of rows.slice(first, first + RESENT_AT_MOST)) await this.#resend(sender, row);
  }

  async #resend(sender, { draft: id, control: said, room }) {
    if (said?.control === "account") return undefined; // it holds the account key, and was for the moment of linking alone
    if (said) return this.#controls.send(said.control === "resend" ? said : control("resend", { content: said }), [sender], { room });
    const draft = await this.#draft(id);
    if (!draft) return undefined;
    const message = control("resend", { message_id: draft.message_id, content: draft.content });
    return this.#controls.send(message, [sender], { room });
  }

  /** What was sent under an id, unless it was taken back since. */
  #draft(id) {
    return this.#context.vault.transaction(async (rows) => {
      const draft = await rows.get("draft", id);
      const row = draft?.message_id && (await rows.byEvent(draft.message_id));
      return row?.deleted ? undefined : draft;
    });
  }

  /** A device has lost our sender key: the key, and the messages that it could have read. */
  async keyRequested(sender, { room, messages }) {
    if (!Array.isArray(messages) || messages.length > ASKED_AT_MOST) throw invalid("`messages` is wrong");
    if (this.#soon(`answer ${room} ${sender.key}`)) return;
    await this.#sender.giveAgain(room, sender);
    for (const messageId of messages) {
      const draft = await this.#context.vault.transaction(async (rows) => {
        const row = await rows.byEvent(String(messageId));
        return row?.id && row.room === room && !row.deleted ? rows.get("draft", row.id) : undefined;
      });
      if (draft?.to?.includes(sender.key)) {
        const said = control("resend", { message_id: messageId, content: draft.content });
        await this.#controls.send(said, [sender], { room });
      }
    }
  }
}
