// The numbers of the protocol. Sizes are in bytes, times in seconds. The Python twin is core/limits.py.

export const VERSION = 1;
export const DAY = 86_400;

export const MAX_SKIP = 1_000;
export const MAX_STORED_KEYS = 2_000;
export const SKIPPED_KEY_AGE = 30 * DAY;
export const MAX_PAST_CHAINS = 32;
export const MAX_COUNTER = 2 ** 31 - 1;

export const MAX_ARCHIVED = 5;
export const ARCHIVE_AGE = 30 * DAY;
export const PENDING_AGE = 30 * DAY;

export const SIGNED_PREKEY_AGE = 7 * DAY;
export const OLD_PREKEY_AGE = 30 * DAY;
export const ONE_TIME_TARGET = 100;
export const ONE_TIME_LOW = 25;
export const MAX_ONE_TIME_KEPT = 1_000;

export const MAX_PLAINTEXT = 65_535;
export const MIN_BUCKET = 32;
export const BUCKET_STEP = 1_024;

export const RETRY_INTERVAL = 3_600;
export const RETRY_AGE = 7 * DAY;
export const CLOCK_SKEW = 300;
export const MAX_FAILURES = 16;
export const THROTTLE_CEILING = 3_600;
export const THROTTLE_ADDRESSES = 10_000;

export const SENDER_KEY_AGE = 7 * DAY;
export const SENDER_KEY_MESSAGES = 1_000;
export const MAX_SENDER_KEYS = 5;

export const MAX_DEVICES = 64;
export const MAX_NAME = 255;
export const ATTACHMENT_CHUNK = 65_536;
export const MAX_CHUNKS = 2 ** 32 - 1;
