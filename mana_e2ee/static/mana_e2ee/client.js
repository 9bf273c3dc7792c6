/**
 * client.js: end-to-end encryption for a ManaClient. docs/e2ee-howto.md has an example, docs/e2ee-clients.md what it says
 * to other clients. Not audited.
 *
 *     const client = new ManaClient({ userId });
 *     const encrypted = new EncryptedClient(client);
 *     await encrypted.start();                            // before connect()
 *     client.on("message", (message) => show(message));   // opened: `encrypted: true`, `payload: {text}`
 *     client.connect();
 *     const { acked } = encrypted.send({ room_id, text: "Hello" });
 *
 * Keys and history live in IndexedDB, for this user and device; the tabs of a profile share them, and a lock keeps two of
 * them from using one key twice. Outgoing messages wait in mana.js's outbox as any others do (in localStorage, readable
 * for who has this browser), and are encrypted when they are sent; the same frame goes out again after a lost connection.
 *
 * What comes is told by the ManaClient, in its order: contents as `message` with `payload`, `attachments` (for
 * `download()`), `reply_to`, `mentions`, `reactions` and `ref` {from, id}; edits, deletions and reactions as
 * `message_edit`, `message_delete` and `reaction`, as without encryption. Where nothing could be read, `payload` is null
 * and `unreadable` says why: `waiting` (it was asked for again), `lost` (nobody has sent it again for a week), `missing`
 * (sent before this device was linked, or dropped), `invalid` (not what the sender may say). Events loaded by REST become
 * readable by `decorate()`. An edit of, or a reaction to, an encrypted message that comes in the clear is not told, and
 * `send()` of the ManaClient throws `not_encrypted` for a room where something encrypted was sent or read.
 *
 * ## Events (`on(type, listener)`)
 *
 * - `status` {status}: `starting`, `ready`, `unlinked` (show `showLinkCode()`, or restore the backup), `replaced` (this
 *   device was removed, or the account was started over), `unsupported` (no secure context, or an old browser)
 * - `settled` {status}: after a connect the keys were looked at, and what waited was read, as far as the server answered
 * - `opened`: an event that was not readable before is now
 * - `devices_changed` {userId, added, removed}, also of the user's own account; `account_changed` {userId}: another account key, nothing is sent to them
 *   until `trustAccount(userId)`; `account_trusted`, `verified`; `list_refused` {userId, reason}: a hostile server
 * - `backup` {enabled}: decided on another device of the user; `error`: the server refuses this device's keys
 * - `group_changed` {roomId, members}; `linked`, `history` {count}; `undecryptable` {messageId, roomId, from, reason}
 * - `app` {from, deviceId, name, data}: a control message of the application's own
 *
 * Errors are `ClientError` (client/errors.js lists the codes), the core's E2EEError, or mana.js's ManaError.
 */
import { Backups } from "./client/backups.js";
import { contentId, control, encode, unb64 } from "./client/contents.js";
import { Controls } from "./client/controls.js";
import { Directory, accountChanged, typed } from "./client/directory.js";
import { ClientError } from "./client/errors.js";
import { downloadDecrypted, uploadEncrypted } from "./client/files.js";
import { apply, eventOfSent } from "./client/history.js";
import { Linking } from "./client/linking.js";
import { Reading } from "./client/reading.js";
import { Receiver } from "./client/receiving.js";
import { Repair } from "./client/repair.js";
import { Rooms } from "./client/rooms.js";
import { Rosters } from "./client/rosters.js";
import { Sealing } from "./client/sealing.js";
import { Sender } from "./client/sending.js";
import { Vault } from "./client/vault.js";
import { Device, Distribution, IndexedDBStore, SafetyNumber } from "./e2ee.js";
import { Address } from "./records.js";
import { DEVICE } from "./tables.js";

export { ClientError };

const DAY = 86_400_000; // ms
const SETTLE_AGAIN = 5_000; // ms until keys are looked at again after a failure
const REFUSED_AGAIN = 60_000; // ms, where the server said no
/** Events of what one tab has written down for all: each opens a frame once, whichever comes first. */
const TOLD_TO_TABS = new Set(["opened", "linked", "history", "verified"]);
const BACKUP_WAIT = 60_000; // ms in which new messages become one backup
const APP_FIELDS = new Set(["reply_event", "target_event"]); // of an outgoing payload, for the page only

export class EncryptedClient extends EventTarget {
  #client;
  #options;
  #tabs = null;
  #context;
  #parts;
  #status = "starting";
  #backupTimer = null;
  #backupDue = false; // it could not be written for want of a connection
  #settleTimer = null;
  #queue = Promise.resolve();

  /**
   * @param {import("../mana/mana.js").ManaClient} client made with `userId`
   * @param {{store?: object, pairwise?: number}} [options] `store`: one of the core's, default an IndexedDB database for
   *   this user and device; `pairwise`: devices up to which each gets a ciphertext of its own
   */
  constructor(client, options = {}) {
    super();
    this.#client = client;
    this.#options = options;
  }

  get status() {
    return this.#status;
  }

  /** Open the store, and stand between the page and the connection. Call it before `connect()`. */
  async start() {
    const client = this.#client;
    try {
      if (!client.userId) throw new Error("The ManaClient needs the option userId.");
      const address = new Address(client.userId, client.deviceId);
      const name = `mana-e2ee ${address.user} ${address.device}`;
      const store = this.#options.store ?? (await IndexedDBStore.open(name));
      this.#context = {
        ...{ client, rest: client.rest, store, vault: new Vault(store), address },
        tell: (type, detail) => this.#tell(type, detail),
        exclusively: (work) => this.#exclusively(name, work),
      };
      if (!this.#options.store && globalThis.BroadcastChannel) {
        this.#tabs = new BroadcastChannel(name);
        this.#tabs.onmessage = ({ data }) => this.#heard(data);
      }
      this.#context.device = await this.#exclusively(name, () => loaded(store, address));
      this.#build();
      await this.#parts.rooms.load();
    } catch (error) {
      this.#setStatus("unsupported", error);
      return;
    }
    client.use({
      seal: (outgoing) => this.#seal(outgoing),
      refused: (outgoing) => this.#parts.sender.refused(outgoing),
      covers: Receiver.covers,
      allows: (message) => this.#parts.rooms.allows(message),
      open: async (frame) => (await this.#context.exclusively(() => this.#parts.receiver.open(frame))).event,
    });
    client.on("sync", ({ phase }) => phase === "done" && this.#connected());
    client.on("device_list", ({ user_id }) => this.#devicesChanged(String(user_id)));
    client.on("prekeys_low", ({ device_id }) => {
      if (device_id !== client.deviceId) return;
      this.#context.exclusively(() => this.#parts.directory.refillNow()).catch(() => {}); // at the next connect
    });
    client.on("room", ({ room_id }) => {
      this.#parts.directory.forgetRooms(room_id);
      this.#parts.rosters.forgetMembers(room_id);
    });
    client.on("message_delete", ({ message_id, room_id, scope }) => scope !== "me" && message_id && this.#parts.receiver.deleted(message_id, room_id));
    client.on("outgoing", (outgoing) => outgoing.sealed && outgoing.status === "sent" && this.#sent(outgoing));
  }

  #build() {
    const context = this.#context;
    const directory = new Directory(context);
    const controls = new Controls(context, directory);
    const rosters = new Rosters(context, directory, controls);
    const rooms = new Rooms(context, directory, rosters);
    const sender = new Sender(context, directory, rooms, controls);
    if (this.#options.pairwise !== undefined) sender.pairwise = this.#options.pairwise;
    const repair = new Repair(context, directory, controls, sender);
    const backups = new Backups(context, directory, controls, rosters);
    const linking = new Linking(context, directory, controls, backups);
    context.rooms = rooms;
    const onControl = {
      sender_key: ({ sender: from, said }) => this.#keyCame(from, said),
      key_request: ({ sender: from, said }) => repair.keyRequested(from, said),
      log: ({ sender: from, said }) => this.#logCame(from, said),
      log_request: ({ sender: from, said }) => rosters.answer(said.room, from),
      account: (given) => linking.accountCame(given),
      history: (given) => backups.historyCame(given),
      trust: (given) => backups.trustCame(given),
      recovery: (given) => backups.recoveryCame(given),
      app: ({ sender: from, said: { name, data } }) => this.#tell("app", { from: from.user, deviceId: from.device, name, data }),
    };
    const receiver = new Receiver(context, { directory, rooms, rosters, sender, repair, onControl });
    const [reading, sealing] = [new Reading(context, receiver), new Sealing(context, directory)];
    this.#parts = { directory, controls, rosters, rooms, sender, repair, backups, linking, receiver, reading, sealing };
  }

  on(type, listener) {
    const handler = (event) => listener(event.detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  // Messages

  /**
   * Send a message; offline too. Follow it as one of mana.js: `acked`, `status`, or `outgoing` events with `sealed`.
   * @param {{room_id: string, text?: string, reply_to?: {from: string, id: string}, reply_plain?: string, reply_event?: string,
   *   mentions?: string[], attachments?: object[], data?: *}} message `reply_to` is a `ref`, `reply_event` its message id
   *   (for the page alone), `attachments` what `upload()` gave; `data` makes a message of kind `custom`
   */
  send({ room_id, text = "", data, ...more }) {
    const said = data === undefined ? { kind: "text", text, ...more } : { kind: "custom", data };
    return this.#out(room_id, said);
  }

  /** Say something else in a message of one's own. @param {object} event with `ref` */
  edit(room_id, event, text, mentions) {
    return this.#out(room_id, { kind: "edit", target: event.ref, target_event: event.id, text, mentions });
  }

  /** Take a message back, also its ciphertext that was not fetched yet. */
  delete(room_id, event) {
    const outgoing = this.#out(room_id, { kind: "delete", target: event.ref, target_event: event.id });
    outgoing.acked.then(() => this.#client.deleteMessage(event.id)).catch(() => {}); // those who have it were told
    return outgoing;
  }

  react(room_id, event, emoji, { remove = false } = {}) {
    const said = { kind: "reaction", target: event.ref, target_event: event.id, emoji, remove: remove || undefined };
    return this.#out(room_id, said);
  }

  #out(room_id, payload) {
    encode({ ...payload, at: 0, room: room_id, device: this.#client.deviceId }); // too long: say so now
    return this.#client.send({ room_id, payload, sealed: true, ack_id: contentId() });
  }

  /** What an outgoing message is for the page, once it was sent: the same as others get as an event. */
  eventOf(outgoing) {
    return eventOfSent(outgoing, this.#client.userId);
  }

  async #seal(outgoing) {
    this.#needLinked();
    const payload = Object.fromEntries(Object.entries(outgoing.payload).filter(([name]) => !APP_FIELDS.has(name)));
    return this.#context.exclusively(() => this.#parts.sender.seal({ ...outgoing, payload }));
  }

  #needLinked() {
    if (this.#status === "starting") throw new ClientError("offline", "The keys are not ready yet.");
    if (this.#status !== "ready") throw new ClientError("not_linked", "This device is not linked yet.");
  }

  async #sent({ ack_id, ack }) {
    const { vault } = this.#context;
    await vault.transaction(async (rows) => {
      const draft = await rows.get("draft", ack_id);
      if (!draft) return;
      rows.put("draft", ack_id, { ...draft, frame: undefined, message_id: ack.message_id });
      await apply(rows, draft.content, ack);
    });
    this.#backupSoon();
  }

  /**
   * Make events that REST gave readable, as `message` events are. Plain ones stay as they are.
   * @param {object[]} events @returns {Promise<object[]>} in the same order
   */
  decorate(events) {
    if (this.#parts) return this.#parts.reading.decorate(events);
    return Promise.resolve(events.map((event) => (event.encrypted ? { ...event, payload: null, unreadable: "missing" } : event)));
  }

  /** The newest message of a room that this device can read, for a preview. */
  latest(roomId) {
    return this.#parts.reading.latest(roomId);
  }

  /** Messages of this device with these words, the newest first; the server can't search them. */
  search(text, { limit = 50, roomId } = {}) {
    return this.#parts.reading.search(text, { limit, roomId });
  }

  // Rooms

  /**
   * Whether what is written in a room is encrypted, and for whom not.
   * @returns {Promise<{encrypted: boolean, forever: boolean, without: string[], unknown: string[], changed: string[],
   *   verified: boolean}>} `without`: members of whom no keys are known, `unknown`: to be let in by `admit()`, `changed`: people
   *   with a new account key
   */
  async roomState(roomId) {
    const { vault, address } = this.#context;
    const { rooms, rosters, directory } = this.#parts;
    const { kind, peer } = await rooms.info(roomId);
    const members = kind === "direct" ? [...new Set([address.user, peer])] : await rosters.members(roomId);
    const keyed = new Set((await directory.recipients(roomId)).map(({ user }) => user));
    const lacking = members.filter((user) => !keyed.has(user) && user !== address.user);
    // The server can say that somebody has no keys. Whose keys are known has not lost them by that: it is no way to the clear.
    const known = await Promise.all(lacking.map((user) => directory.hasKeys(user)));
    const without = lacking.filter((_, index) => !known[index]);
    const forever = await rooms.isEncrypted(roomId);
    const unknown = kind === "direct" ? [] : await rosters.unknown(roomId);
    const others = members.filter((user) => user !== address.user);
    for (const user of others) {
      // Its account key may be another one than a linked device, or the backup, has named.
      if (keyed.has(user) && !(await directory.current(user))) await directory.refresh(user).catch(() => {});
    }
    const rows = await Promise.all(others.map((user) => vault.get("user", user)));
    const changed = others.filter((_, index) => rows[index]?.changed);
    const trusted = await Promise.all(others.map((user) => this.isVerified(user)));
    // Also where this device is not linked (yet): it can't send there then, and nothing goes out in the clear in its place.
    const encrypted = forever || (!without.length && others.length > 0);
    return { encrypted, forever, without, unknown, changed, verified: others.length > 0 && trusted.every(Boolean) };
  }

  /** The user lets somebody into a group who joined it in another way. */
  admit(roomId, users) {
    return this.#context.exclusively(() => this.#parts.rosters.admit(roomId, users));
  }

  // Trust

  /**
   * @returns {Promise<{number: SafetyNumber, account: string, verified: boolean, changed: boolean} | null>} null for who has no
   *   keys; `account` is the key that the number is of, for `trustAccount` and `setVerified`
   */
  async safetyNumber(userId) {
    const { vault, address } = this.#context;
    const { directory } = this.#parts;
    const row = await vault.get("user", userId);
    if (!(await directory.current(userId))) await directory.refresh(userId).catch(() => {});
    const own = await directory.current(address.user);
    const theirs = await directory.shown(userId);
    if (!own || !theirs) return null;
    const number = await SafetyNumber.ofAccounts(address.user, own.account, userId, theirs.account);
    return { number, account: typed(theirs.account), verified: await this.isVerified(userId), changed: Boolean(row?.changed) };
  }

  /** Whether the user has compared the account key that somebody has now. */
  async isVerified(userId) {
    const row = await this.#context.vault.get("user", userId);
    if (!row?.verified || row.changed) return false;
    const { directory } = this.#parts;
    if (!(await directory.current(userId))) await directory.refresh(userId).catch(() => {}); // verified on another device
    const list = await directory.current(userId);
    return Boolean(list) && row.verified === typed(list.account);
  }

  /**
   * The user has compared the safety number, or takes that back. Their other devices are told. With `account` that of this key:
   * rejects with `account_changed` where it is another one by now.
   */
  async setVerified(userId, verified = true, account) {
    const { vault, exclusively } = this.#context;
    const list = await this.#parts.directory.current(userId);
    if (verified && account !== undefined && (!list || typed(list.account) !== account)) throw accountChanged(userId);
    const key = verified && list ? typed(list.account) : undefined;
    await vault.transaction(async (rows) => rows.put("user", userId, { ...(await rows.get("user", userId)), verified: key }));
    this.#tell("verified", { userId, verified });
    await exclusively(() => this.#parts.backups.shareTrust(userId, key)).catch(() => {}); // the backup has it too
    this.#backupSoon();
  }

  /**
   * The user has looked, and agrees to the new account key. With `account` to this one: rejects with `account_changed` where it
   * is another one by now.
   */
  async trustAccount(userId, account) {
    await this.#context.exclusively(() => this.#parts.directory.trustAccount(userId, account));
    this.#later(() => this.#parts.receiver.again(({ frame }) => String(frame.from) === userId));
  }

  // Devices, linking, backup

  /** The devices in one's own list. @returns {Promise<{id: string, created: Date, current: boolean}[]>} */
  async devices() {
    const { address } = this.#context;
    const list = await this.#parts.directory.current(address.user);
    return (list?.devices ?? []).map(({ address: one, created }) => ({
      ...{ id: one.device, created: new Date(created * 1000), current: one.equals(address) },
    }));
  }

  /** On a new device: {text, qr, until}. It is linked when `linked` comes. */
  async showLinkCode() {
    if (this.#status === "ready") throw new ClientError("not_found", "This device is linked already.");
    return this.#parts.linking.showCode();
  }

  /** On an old device: link the one that shows this code. @returns {Promise<string>} its id */
  link(code) {
    return this.#context.exclusively(() => this.#parts.linking.link(code));
  }

  unlink(deviceId) {
    return this.#context.exclusively(() => this.#parts.linking.unlink(deviceId));
  }

  /** Back up from now on. @returns {Promise<string>} the recovery key, to be shown to the user */
  enableBackup() {
    return this.#context.exclusively(() => this.#parts.backups.enable());
  }

  disableBackup() {
    return this.#context.exclusively(() => this.#parts.backups.disable());
  }

  /** @returns {Promise<string | null>} the recovery key, where there is a backup */
  recoveryKey() {
    return this.#parts.backups.recoveryKey();
  }

  /** @returns {Promise<number>} how many messages came back */
  restoreBackup(recoveryKey) {
    return this.#context.exclusively(() => this.#parts.backups.restore(recoveryKey));
  }

  /** For who has neither another device nor the recovery key: a new account, of which others are warned. */
  async startOver() {
    const { rest, vault, exclusively } = this.#context;
    await exclusively(async () => {
      await rest.delete("e2ee/device-list");
      // The devices before know the recovery key: what is backed up from now on is not for them.
      await rest.delete("e2ee/backup");
      await vault.transaction(async (rows) => {
        for (const key of ["seed", "recovery", "recovery_at"]) rows.delete("own", key);
      });
      await this.#parts.directory.forgetOwn();
    });
    await this.#connected();
  }

  // Files, and other uses

  /** Encrypt and upload a file, for `attachments` of `send()`. */
  upload(file, options) {
    return uploadEncrypted(this.#client, file, options);
  }

  /** @returns {Promise<Blob>} an attachment in the clear */
  download(file) {
    return downloadDecrypted(this.#client, file);
  }

  /**
   * Encrypt something for all devices of people, over a transport of one's own that says who sent it.
   * @param {string[]} userIds @param {*} data JSON, or a Uint8Array
   * @param {{purpose: string, context: string}} what the same at the other end
   * @returns {Promise<Object<string, Object<string, string>>>} base64 by user and device, without this device
   */
  async seal(userIds, data, { purpose, context }) {
    this.#needLinked();
    return this.#parts.sealing.seal(userIds, data, purpose, context);
  }

  /** Open what a device has sealed, once. */
  open(userId, deviceId, sealed, { purpose, context }) {
    return this.#parts.sealing.open(userId, deviceId, sealed, purpose, context);
  }

  /** For `new Calls(client, {keyTransport})` of mana_rtc: the keys of encrypted media, sealed for each device. */
  get keyTransport() {
    const what = (call_id) => ({ purpose: "call", context: call_id });
    return {
      seal: (userIds, object, { call_id }) => this.seal(userIds.map(String), object, what(call_id)),
      open: ({ from, device_id, call_id, sealed }) => {
        const mine = typeof sealed === "string" ? sealed : sealed?.[this.#client.deviceId];
        if (!mine) throw new ClientError("not_found", "Nothing was sealed for this device.");
        return this.open(String(from), device_id, mine, what(call_id));
      },
    };
  }

  /** Tell all devices in a room something that is no message. They hear `app`. */
  signal(roomId, name, data) {
    return this.#context.exclusively(async () => {
      const { addresses } = await this.#parts.rooms.audience(roomId);
      await this.#parts.controls.send(control("app", { name, data }), addresses, { room: roomId });
    });
  }

  // What happens by itself

  async #connected() {
    clearTimeout(this.#settleTimer);
    if (this.#backupDue) this.#backupSoon();
    this.#backupDue = false;
    const { directory, receiver, repair } = this.#parts;
    try {
      directory.forgetRooms();
      const status = await this.#context.exclusively(() => directory.settle());
      this.#setStatus(status);
      await receiver.fetchWaiting((event) => this.#tell("opened", event));
      await this.#context.vault.prune(Date.now());
      await this.#context.exclusively(() => receiver.again());
      if (status === "ready") await this.#context.exclusively(() => repair.remind());
      this.#connectIn(DAY); // a page may be open for weeks: keys are rotated, what does not open is asked for again
    } catch (error) {
      // Out of reach: at the next connect, or after a while. A refusal does not pass so soon, and somebody should know.
      const isRefusal = (error.status > 401 && error.status < 500) || error instanceof ClientError;
      if (isRefusal) this.#tell("error", error);
      this.#connectIn(isRefusal ? REFUSED_AGAIN : SETTLE_AGAIN);
    } finally {
      this.#tell("settled", { status: this.#status });
    }
  }

  #connectIn(ms) {
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(() => this.#client.state === "online" && this.#connected(), ms);
    this.#settleTimer.unref?.(); // of Node, which would wait for it
  }

  async #devicesChanged(user) {
    const { directory } = this.#parts;
    directory.forgetRooms();
    if (user === this.#client.userId) {
      if (this.#status !== "starting") await this.#connected();
      return;
    }
    const isKnown = async () => (await directory.current(user)) || (await this.#context.vault.get("user", user));
    const work = async () => (await isKnown()) && directory.refresh(user);
    await this.#context.exclusively(work).catch(() => {}); // told as an event already, or looked at when sending
    await this.#context.exclusively(() => this.#parts.receiver.again(({ frame }) => String(frame.from) === user));
    this.#tell("devices", { userId: user });
  }

  async #keyCame(from, { room, distribution }) {
    const group = await this.#parts.sender.group(room);
    if (!group) throw new ClientError("not_found", "The members of the group are not known.");
    await group.receiveKey(from, Distribution.fromBytes(unb64(distribution)));
    this.#later(() => this.#parts.receiver.again(({ frame }) => frame.room_id === room));
  }

  async #logCame(from, said) {
    await this.#parts.rosters.receive(said.room, from, said);
    this.#later(() => this.#parts.receiver.again(({ frame }) => frame.room_id === said.room));
  }

  /** After what is being done now. */
  #later(work) {
    this.#context.exclusively(work).catch((error) => this.#tell("error", error));
  }

  #backupSoon() {
    this.#backupTimer ??= setTimeout(async () => {
      this.#backupTimer = null;
      // Signed out in another tab, where somebody else may have signed in: theirs would be replaced. The next connect is ours.
      if (this.#client.state !== "online") return void (this.#backupDue = true);
      await this.#context.exclusively(() => this.#parts.backups.store()).catch(() => {}); // with the next message
    }, BACKUP_WAIT);
    this.#backupTimer?.unref?.(); // of Node, which would wait for it
  }

  #setStatus(status, error) {
    if (status === this.#status) return;
    this.#status = status;
    this.#tell("status", { status, error });
  }

  /** What another tab of this device has come to know. */
  #heard({ type, detail }) {
    if (type === "linked") {
      this.#parts?.directory.forgetRooms();
      this.#setStatus("ready");
    }
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #tell(type, detail) {
    if (TOLD_TO_TABS.has(type)) this.#tabs?.postMessage({ type, detail });
    if (type === "linked") {
      this.#setStatus("ready");
      this.#later(() => this.#parts.receiver.again());
      this.#later(() => this.#parts.repair.remind());
    }
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** One thing after the other, in all tabs. */
  #exclusively(name, work) {
    if (globalThis.navigator?.locks) return navigator.locks.request(`${name} client`, work);
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => {});
    return turn;
  }
}

async function loaded(store, address) {
  const exists = await store.transaction((tx) => tx.get(DEVICE, ""));
  return exists ? Device.load(store) : Device.generate(store, address);
}
