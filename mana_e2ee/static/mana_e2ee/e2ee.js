// The protocol core for browsers (and Node 20 or newer): the twin of mana_e2ee.core, byte for byte. Not audited.

export { Attachment } from "./attachment.js";
export { Backup, RecoveryKey } from "./backup.js";
export { Device } from "./device.js";
export { AccountKey, DeviceList } from "./device_list.js";
export * from "./errors.js";
export { Distribution, GroupSession } from "./groups.js";
export { hasNativeKem } from "./kem.js";
export { MembershipEntry, MembershipLog } from "./membership.js";
export {
  Address,
  DeviceRecord,
  KemPreKey,
  OneTimePreKey,
  PreKeyBundle,
  Publication,
  SignedPreKey,
} from "./records.js";
export { RetryRequest, answerRetry, requestRetry } from "./retry.js";
export { SafetyNumber } from "./safety_number.js";
export { decrypt, encrypt, encryptMany, forget, hasSession, pending, processPrekeyBundle } from "./sessions.js";
export { IndexedDBStore, MemoryStore } from "./stores.js";
export { acceptDeviceList, identity, trustAccount, trustIdentity } from "./trust.js";
