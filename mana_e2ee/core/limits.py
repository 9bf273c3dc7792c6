"""The numbers of the protocol, in one place. Sizes are in bytes, times in seconds."""

VERSION = 1

DAY = 86_400

# Ratchet (Double Ratchet, 3.1 and 8.4: bounds on skipped keys).
MAX_SKIP = 1_000  # keys one message may skip in one chain
MAX_STORED_KEYS = 2_000  # skipped keys a session keeps, first in first out
SKIPPED_KEY_AGE = 30 * DAY
MAX_PAST_CHAINS = 32  # ended receiving chains remembered, to tell a duplicate from a new chain
MAX_COUNTER = 2**31 - 1  # messages in one sending chain

# Sessions (Sesame, 3.2).
MAX_ARCHIVED = 5
ARCHIVE_AGE = 30 * DAY
PENDING_AGE = 30 * DAY  # an initiated session that nobody answered is not used longer than this

# Prekeys (X3DH, 2.4 and 4.5; PQXDH, 3.2).
SIGNED_PREKEY_AGE = 7 * DAY
OLD_PREKEY_AGE = 30 * DAY  # a rotated private part is kept this long
ONE_TIME_TARGET = 100
ONE_TIME_LOW = 25
MAX_ONE_TIME_KEPT = 1_000  # private one-time prekeys kept; the oldest go first

# Messages.
MAX_PLAINTEXT = 65_535
MIN_BUCKET = 32
BUCKET_STEP = 1_024

# Repair.
RETRY_INTERVAL = 3_600  # one retry request per pair of devices
RETRY_AGE = 7 * DAY  # older requests are refused
CLOCK_SKEW = 300  # a request may come from this far in the future
MAX_FAILURES = 16  # in a row, from one address, before throttling
THROTTLE_CEILING = 3_600
THROTTLE_ADDRESSES = 10_000  # failing addresses remembered, least recent dropped

# Groups.
SENDER_KEY_AGE = 7 * DAY
SENDER_KEY_MESSAGES = 1_000
MAX_SENDER_KEYS = 5  # keys kept per group and sending device, newest first

# Lists and files.
MAX_DEVICES = 64
MAX_NAME = 255  # UTF-8 bytes of a user or device id
ATTACHMENT_CHUNK = 65_536
MAX_CHUNKS = 2**32 - 1
