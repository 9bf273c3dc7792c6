"""A group conversation of this device: its own sender key, and those of the other members' devices."""

from . import keys, primitives, tables, trust
from .device import own_identity
from .encoding import lp, name
from .envelope import pad, unpad
from .errors import InvalidMessage, NoSession, NotAMember, RotationNeeded
from .limits import MAX_SENDER_KEYS, SENDER_KEY_AGE, SENDER_KEY_MESSAGES
from .membership import MembershipLog
from .records import Address
from .sender_keys import Distribution, GroupMessage, ReceiverKey, SenderKey
from .sessions import Received, keep
from .stores.base import Store, Transaction
from .tables import clock
from .throttle import guarded


class GroupSession:
    """One group, in one device's store. `log` is the membership log as far as this device has accepted it."""

    def __init__(self, store: Store, log: MembershipLog) -> None:
        self._store = store
        self.log = log

    @property
    def _key(self) -> bytes:
        return lp(name(self.log.group))

    def rotate(self, *, now: int | None = None) -> Distribution:
        """A new sender key. Send it pairwise to every device of every member before the next `encrypt`.

        Raises NotAMember when our own user is not in the group.
        """
        with self._store.transaction() as tx:
            self._check_member(own_identity(tx).record.address)
            key = SenderKey.generate(epoch=self.log.epoch, removal=self.log.last_removal, now=clock(now))
            tx.put(tables.GROUP_OWN, self._key, key.to_bytes())
            return key.distribution(self.log.group)

    def distribution(self, *, now: int | None = None) -> Distribution:
        """The current key from its next message on, for a device that joins now. Raises RotationNeeded."""
        with self._store.transaction() as tx:
            return self._own(tx, clock(now)).distribution(self.log.group)

    def encrypt(self, plaintext: bytes, *, now: int | None = None) -> bytes:
        """One message for all. Raises RotationNeeded (call `rotate` first), NotAMember, InvalidMessage (too
        long).
        """
        padded = pad(plaintext)
        with self._store.transaction() as tx:
            sender = own_identity(tx).record.address
            self._check_member(sender)
            key = self._own(tx, clock(now))
            message = key.encrypt(self.log.group, sender, padded)
            tx.put(tables.GROUP_OWN, self._key, key.to_bytes())
            return message

    def receive_key(self, sender: Address, distribution: Distribution) -> None:
        """Accepts a sender key that came over the pairwise session with `sender`.

        A key that is already known is left as it is. Raises NotAMember, UntrustedIdentity when `sender` is not in
        its user's device list, InvalidKey, or InvalidMessage for another group's key.
        """
        if distribution.group != self.log.group:
            raise InvalidMessage("the sender key is for another group")
        self._check_member(sender)
        keys.check_ed25519(distribution.signing_key)
        prefix = self._key + sender.to_bytes()
        with self._store.transaction() as tx:
            trust.check_listed(tx, sender)
            if tx.get(tables.GROUP_PEER, prefix + distribution.id) is not None:
                return
            order = tables.next_id(tx, tables.GROUP_PEER)
            key = ReceiverKey(
                order,
                distribution.epoch,
                distribution.iteration,
                distribution.chain,
                distribution.signing_key,
            )
            tx.put(tables.GROUP_PEER, prefix + distribution.id, key.to_bytes())
            newest = sorted(tx.scan(tables.GROUP_PEER, prefix), key=lambda row: row[1][:8], reverse=True)
            for row, _ in newest[MAX_SENDER_KEYS:]:
                tx.delete(tables.GROUP_PEER, row)

    def decrypt(self, sender: Address, message: bytes, *, now: int | None = None) -> Received:
        """Decrypts a group message that the transport says is from `sender`, and keeps it until `forget`.

        `session_id` of the result is the distribution id. Raises NotAMember, NoSession (ask `sender` for its
        key), InvalidSignature, DuplicateMessage, TooManySkipped, InvalidMessage, UnsupportedVersion or
        Throttled.
        """
        moment = clock(now)
        with guarded(self._store, sender, moment):
            parsed = GroupMessage.parse(message)
            self._check_member(sender)
            row = self._key + sender.to_bytes() + parsed.id
            with self._store.transaction() as tx:
                stored = tx.get(tables.GROUP_PEER, row)
                if stored is None:
                    raise NoSession(f"the sender key of {sender} is not known")
                key = ReceiverKey.from_bytes(stored)
                plaintext = unpad(key.decrypt(self.log.group, sender, parsed, moment))
                tx.put(tables.GROUP_PEER, row, key.to_bytes())
                received = Received(primitives.sha256(message), sender, parsed.id, plaintext)
                keep(tx, received)
                return received

    def _own(self, tx: Transaction, now: int) -> SenderKey:
        stored = tx.get(tables.GROUP_OWN, self._key)
        if stored is None:
            raise RotationNeeded("there is no sender key for the group yet")
        key = SenderKey.from_bytes(stored)
        if key.removal != self.log.last_removal:
            raise RotationNeeded("a member was removed since the key was handed out")
        if key.iteration >= SENDER_KEY_MESSAGES or now >= key.created + SENDER_KEY_AGE:
            raise RotationNeeded("the key has sent too much, or is too old")
        return key

    def _check_member(self, address: Address) -> None:
        if address.user not in self.log.members:
            raise NotAMember(f"{address.user!r} is not in the group {self.log.group!r}")
