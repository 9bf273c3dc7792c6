"""What to change so that a mechanism is off, and the test that must fail then."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

INVARIANTS = {
    1: "Write, then announce",
    2: "Sequence order is commit order",
    3: "Group commit",
    4: "Idempotent send",
    5: "Everything that changes a timeline is sequenced",
    6: "The bus only hints",
    7: "Encode once, send in batches",
    8: "Bounded everything",
    9: "Server-owned identity",
    10: "Joins your transaction",
    11: "Presence is a lease",
    12: "Revocation is live",
    13: "A failing hook never fails a message",
    14: "Drain on SIGTERM",
}


@dataclass(frozen=True)
class Change:
    """A text of a file, which is in it once, and the one that takes its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Switch:
    """One mechanism of an invariant."""

    invariant: int
    #: What happens with it off, in a few words.
    off: str
    test: str
    changes: tuple[Change, ...]
    environment: dict[str, str] = field(default_factory=dict)


def switch(invariant: int, off: str, test: str, *changes: tuple[str, str, str], **environment: str) -> Switch:
    """A switch; each change is ``(path, old, new)``, ``test`` a node id below ``tests/``."""
    return Switch(invariant, off, f"tests/{test}", tuple(Change(*change) for change in changes), environment)


SWITCHES = (
    switch(
        1,
        "acks are sent before the commit",
        "messaging/test_writer.py::test_nobody_is_answered_before_the_commit",
        (
            "mana/messaging/writer.py",
            "        try:\n            # `save` knows",
            "        for job in batch:\n            job.done(ManaError(ErrorCode.INTERNAL))\n"
            "        try:\n            # `save` knows",
        ),
    ),
    switch(
        1,
        "messages are acked and never committed",
        "faults/test_drain.py::test_everything_that_was_taken_is_stored_and_acked_before_the_close",
        (
            "mana/messaging/timeline.py",
            "            insert_messages(timeline.events, using=using)\n",
            "            insert_messages(timeline.events, using=using)\n"
            "        if timeline.events and timeline.events[-1].payload_json.endswith('7'):\n"
            "            transaction.set_rollback(True, using=using)\n",
        ),
    ),
    switch(
        1,
        "others are told inside the transaction",
        "messaging/test_services.py::test_signals_tell_after_the_commit",
        (
            "mana/messaging/timeline.py",
            "        yield timeline\n    publish([*timeline.placed, *timeline.events, *timeline.personal])\n",
            "        yield timeline\n        publish([*timeline.placed, *timeline.events, *timeline.personal])\n",
        ),
    ),
    switch(
        2,
        "the stream is read without a lock",
        "messaging/test_places.py::test_threads_that_write_at_once_leave_no_gap_and_give_no_place_twice",
        ("mana/messaging/statements.py", "{where} FOR UPDATE", "{where}"),
        MANA_TEST_DATABASE="postgres",
    ),
    switch(
        2,
        "readers sync past events that are committed between their queries",
        "messaging/test_places.py::test_sync_stops_where_the_order_was_when_it_began",
        (
            "mana/messaging/services/sync.py",
            "up_to=latest)",
            "up_to=2**62)",
        ),
    ),
    switch(
        2,
        "indexes of a room leave gaps",
        "messaging/test_services.py::test_places_follow_one_another_over_rooms",
        ("mana/messaging/timeline.py", "room.last_index += 1", "room.last_index += 2"),
    ),
    switch(
        3,
        "each message is a transaction of its own",
        "messaging/test_writer.py::test_what_waits_while_a_transaction_runs_is_the_next_transaction",
        ("mana/messaging/writer.py", "len(batch) < settings.WRITER_BATCH_SIZE", "len(batch) < 1"),
    ),
    switch(
        3,
        "a refused message refuses its batch",
        "messaging/test_services.py::test_a_batch_gives_each_draft_its_own_answer",
        (
            "mana/messaging/sequencer.py",
            "                results.append(_not_a_member(draft, timeline))\n                continue",
            "                raise _not_a_member(draft, timeline)",
        ),
    ),
    switch(
        3,
        "a message that the database refuses fails its batch",
        "messaging/test_services.py::test_a_message_that_the_database_can_not_take_fails_alone",
        (
            "mana/messaging/sequencer.py",
            "        if len(drafts) == 1:\n            logger.exception",
            "        if drafts:\n            logger.exception",
        ),
        MANA_TEST_DATABASE="postgres",
    ),
    switch(
        4,
        "nobody looks for what was stored before",
        "messaging/test_messages.py::test_a_resend_is_answered_with_the_first_ack",
        ("mana/messaging/sequencer.py", "if look_for_resends else {}", "if False else {}"),
    ),
    switch(
        4,
        "an ack_id is not stored",
        "messaging/test_messages.py::test_a_resend_is_answered_with_the_first_ack",
        (
            "mana/messaging/sequencer.py",
            "        ack_id=draft.ack_id,\n",
            "        ack_id=None,\n",
        ),
    ),
    switch(
        5,
        "edits, deletions and reactions are no events",
        "messaging/test_changes.py::test_an_edit_is_told_to_all_and_kept",
        (
            "mana/messaging/timeline.py",
            "        self._place(event)\n        self.events.append(event)\n",
            "        self._place(event)\n        if event.kind in (Message.Kind.MESSAGE, Message.Kind.ROOM):\n"
            "            self.events.append(event)\n",
        ),
    ),
    switch(
        5,
        "changes of rooms and memberships are no events",
        "messaging/test_sync.py::test_without_a_cursor_the_devices_own_counts",
        (
            "mana/messaging/timeline.py",
            "        self._place(event)\n        self.events.append(event)\n",
            "        self._place(event)\n        if event.kind != Message.Kind.ROOM:\n"
            "            self.events.append(event)\n",
        ),
    ),
    switch(
        5,
        "what one does for oneself is not in sync",
        "messaging/test_changes.py::test_a_device_that_was_offline_learns_of_it_by_sync",
        (
            "mana/messaging/message_store.py",
            "events: list[AnyEvent] = [*self._in_rooms(user_pk, cursor, limit, up_to), *personal]",
            "events: list[AnyEvent] = [*self._in_rooms(user_pk, cursor, limit, up_to)]",
        ),
    ),
    switch(
        6,
        "events are delivered as they come",
        "realtime/test_hub.py::test_events_arrive_once_and_in_order_however_they_come",
        (
            "mana/realtime/hub.py",
            "            elif sequence == self._next:\n",
            "            elif sequence != self._next:\n                self._apply(announcement)\n"
            "            elif sequence == self._next:\n",
        ),
    ),
    switch(
        6,
        "gaps are not read from the database",
        "realtime/test_hub.py::test_a_gap_is_read_from_the_database",
        (
            "mana/realtime/hub.py",
            "        if self._repairing is None or self._repairing.done():\n"
            '            self._repairing = self.loop.create_task(self._repair(), name="mana-repair")\n',
            "        return\n",
        ),
    ),
    switch(
        6,
        "nobody looks for what was never announced",
        "realtime/test_hub.py::test_events_that_nobody_announced_are_found",
        (
            "mana/realtime/hub.py",
            "                    if self._next == expected:\n                        self.repair()\n",
            "                    if self._next == expected:\n                        pass\n",
        ),
    ),
    switch(
        6,
        "a layer that comes back is trusted",
        "realtime/test_bus.py::test_a_layer_that_comes_back_has_the_hub_read_what_it_missed",
        ("mana/realtime/bus.py", "                    self._hub.repair()\n", "                    pass\n"),
    ),
    switch(
        6,
        "a layer that was emptied is not joined again",
        "realtime/test_cluster.py::test_a_layer_that_loses_announcements_loses_no_events[sqlite-emptied]",
        ("mana/realtime/hub.py", "                    self.bus.doubt()\n", "                    pass\n"),
    ),
    switch(
        6,
        "the browser's client asks for no missing index",
        "browser/test_node.py::test_the_browser_client",
        (
            "mana/static/mana/timeline.js",
            "    const gap = this.#gapBefore(event);\n",
            "    const gap = null;\n",
        ),
    ),
    switch(
        6,
        "the browser's client takes up what it has handled before",
        "browser/test_node.py::test_the_browser_client",
        ("mana/static/mana/timeline.js", "    if (isNew) this.#onEvent(event);\n", "    this.#onEvent(event);\n"),
    ),
    switch(
        7,
        "every receiver gets a text of its own",
        "realtime/test_hub.py::test_all_receivers_are_given_the_very_same_text",
        (
            "mana/realtime/tick.py",
            "            self._arrays = arrays(frames)\n        return self._arrays\n",
            "            pass\n        return arrays(frames)\n",
        ),
    ),
    switch(
        7,
        "each event is a message of its own",
        "realtime/test_hub.py::test_one_frame_is_an_object_and_several_are_arrays_of_bounded_size",
        ("mana/realtime/session.py", "    if len(frames) == 1:\n        return frames\n", "    return frames\n"),
    ),
    switch(
        7,
        "announcements are published one by one",
        "realtime/test_bus.py::test_one_channel_serves_the_whole_process",
        (
            "mana/realtime/bus.py",
            "while self._waiting and size < MESSAGE_BYTES:",
            "while self._waiting and not batch:",
        ),
    ),
    switch(
        8,
        "a session's queue has no end",
        "realtime/test_hub.py::test_a_reader_who_does_not_catch_up_is_told_and_closed",
        (
            "mana/realtime/session.py",
            "            if self._queued > settings.SESSION_BUFFER_BYTES:",
            "            if self._queued > 2**40:",
        ),
    ),
    switch(
        8,
        "what daphne keeps is not counted",
        "realtime/test_slow_readers.py::test_who_does_not_read_is_closed_and_comes_back_by_sync[daphne]",
        (
            "mana/realtime/session.py",
            "self._backlog() > settings.SESSION_BUFFER_BYTES and",
            "self._backlog() > 2**40 and",
        ),
    ),
    switch(
        8,
        "the process has no budget",
        "realtime/test_hub.py::test_the_process_has_a_budget_too_and_who_waits_for_the_most_is_closed_first",
        ("mana/realtime/hub.py", "            self._shed()\n            try:", "            try:"),
    ),
    switch(
        8,
        "any number of events may wait for an earlier one",
        "realtime/test_hub.py::test_a_gap_that_can_not_be_read_does_not_fill_the_memory",
        ("mana/realtime/hub.py", " and len(self._held) < HELD:", ":"),
    ),
    switch(
        8,
        "any number of messages may wait for the writer",
        "messaging/test_writer.py::test_of_more_than_may_wait_the_rest_is_refused",
        ("mana/messaging/writer.py", "len(self._queue) >= settings.WRITER_QUEUE_SIZE or", ""),
    ),
    switch(
        8,
        "any number of announcements may wait for the layer",
        "realtime/test_bus.py::test_of_what_can_not_be_published_the_oldest_is_dropped_and_counted",
        ("mana/realtime/bus.py", "deque(maxlen=BACKLOG)", "deque()"),
    ),
    switch(
        8,
        "frames have no rate",
        "realtime/test_bad_input.py::test_a_flood_is_slowed_then_closed_and_what_was_acked_is_stored",
        ("mana/realtime/consumer.py", "wait = bucket.take(now) or of_user.take(now)", "wait = 0.0"),
    ),
    switch(
        9,
        "who a frame says it is from is believed",
        "realtime/test_bad_input.py::test_what_a_client_writes_as_from_is_ignored",
        (
            "mana/realtime/consumer.py",
            "            counters.frames_in[type(frame)] += 1\n",
            "            import dataclasses, json\n"
            "            if claimed := json.loads(text).get('from'):\n"
            "                session.identity = dataclasses.replace(\n"
            "                    session.identity, user_pk=int(claimed), user_id=claimed)\n"
            "            counters.frames_in[type(frame)] += 1\n",
        ),
    ),
    switch(
        9,
        "the device that a frame names is believed",
        "realtime/test_bad_input.py::test_what_a_client_writes_as_from_is_ignored",
        (
            "mana/realtime/consumer.py",
            "            counters.frames_in[type(frame)] += 1\n",
            "            import json\n"
            "            session.device_id = json.loads(text).get('device_id') or session.device_id\n"
            "            counters.frames_in[type(frame)] += 1\n",
        ),
    ),
    switch(
        10,
        "a send inside a transaction is announced before its commit",
        "messaging/test_transactions.py::test_a_committed_message_is_announced_after_the_commit_and_has_its_place"
        "[sqlite]",
        (
            "mana/messaging/timeline.py",
            "            transaction.on_commit(lambda: sequence_after_commit([*outbox.events, *outbox.personal]), "
            "using=using)",
            "            sequence_after_commit([*outbox.events, *outbox.personal])",
        ),
    ),
    switch(
        10,
        "what is rolled back is announced",
        "messaging/test_services.py::test_what_is_rolled_back_is_told_to_nobody",
        (
            "mana/messaging/timeline.py",
            "            transaction.on_commit(lambda: sequence_after_commit([*outbox.events, *outbox.personal]), "
            "using=using)",
            "            sequence_after_commit([*outbox.events, *outbox.personal])",
        ),
    ),
    switch(
        10,
        "a send inside a transaction takes the stream's lock",
        "messaging/test_transactions.py::test_an_open_transaction_holds_nobody_up[postgres]",
        (
            "mana/messaging/timeline.py",
            "    if in_callers_transaction(using):\n        outbox",
            "    if False:\n        outbox",
        ),
        (
            "mana/messaging/timeline.py",
            "transaction.atomic(using=using, durable=True)",
            "transaction.atomic(using=using)",
        ),
    ),
    switch(
        10,
        "nobody finishes what a crash left without a place",
        "messaging/test_transactions.py::test_a_crash_between_commit_and_place_is_healed_by_a_node[sqlite]",
        ("mana/messaging/source.py", "        events = sequence_pending()\n", "        events = []\n"),
    ),
    switch(
        11,
        "a lease never ends",
        "realtime/test_cluster.py::test_the_users_of_a_killed_node_go_offline[sqlite]",
        ("mana/realtime/presence.py", "            self._left |= await run(stores.bury_node, node_id)\n", ""),
    ),
    switch(
        11,
        "a lease is not renewed",
        "realtime/test_leases.py::test_who_stays_connected_stays_online",
        (
            "mana/realtime/presence.py",
            "        elif not await run(stores.renew_node, self._hub.node_id):",
            "        elif not self._registered:",
        ),
    ),
    switch(
        12,
        "no hint is left when credentials end",
        "realtime/test_revocation.py::test_who_lost_their_credentials_is_closed_out_everywhere",
        ("mana/realtime/revocation.py", '    _leave_hint(user_id, "")\n', "    return\n"),
    ),
    switch(
        12,
        "hints are not read from the database",
        "realtime/test_hub.py::test_a_hint_that_the_layer_lost_is_read_from_the_database",
        ("mana/realtime/revoker.py", "                await self._read()\n", ""),
    ),
    switch(
        12,
        "nobody looks for users who were disabled by an UPDATE",
        "realtime/test_revocation.py::test_who_lost_their_credentials_is_closed_out_everywhere",
        ("mana/realtime/revoker.py", "                await self._sweep()\n", ""),
    ),
    switch(
        12,
        "a session outlives its token",
        "realtime/test_connections.py::test_a_session_ends_with_its_token_unless_it_is_renewed",
        (
            "mana/realtime/consumer.py",
            "    if session.identity.expires_at is not None:\n",
            "    if False:\n",
        ),
    ),
    switch(
        12,
        "who is removed from a room still hears it",
        "realtime/test_revocation.py::test_who_is_removed_from_a_room_at_one_node_hears_nothing_more_at_the_other",
        ("mana/realtime/hub.py", "        if announcement.left:\n", "        if False:\n"),
    ),
    switch(
        13,
        "receivers may raise",
        "messaging/test_transactions.py::test_a_failing_receiver_fails_no_message[sqlite]",
        (
            "mana/messaging/publish.py",
            "        signal.send_robust(sender, **kwargs)",
            "        signal.send(sender, **kwargs)",
        ),
    ),
    switch(
        13,
        "a receiver that fails keeps others from hearing",
        "realtime/test_receivers.py::test_a_receiver_that_fails_keeps_no_other_from_hearing",
        ("mana/realtime/hooks.py", "signal.send_robust(", "signal.send("),
    ),
    switch(
        13,
        "a hook that fails before a message is stored refuses it",
        "messaging/test_hooks.py::test_a_receiver_that_fails_lets_the_message_pass",
        ("mana/messaging/hooks.py", "message_sending.send_robust(", "message_sending.send("),
    ),
    switch(
        14,
        "SIGTERM goes to the server at once",
        "faults/test_drain.py::test_a_socket_that_comes_too_late_is_told_when_to_come_back[daphne]",
        ("mana/realtime/hub.py", "        drain_on_sigterm(self)\n", ""),
    ),
    switch(
        14,
        "new sockets are let in while the node drains",
        "faults/test_drain.py::test_a_socket_that_comes_too_late_is_told_when_to_come_back[daphne]",
        ("mana/realtime/consumer.py", "            if hub.draining:\n", "            if False:\n"),
    ),
    switch(
        14,
        "sockets are closed before the writer is flushed",
        "faults/test_drain.py::test_everything_that_was_taken_is_stored_and_acked_before_the_close",
        ("mana/realtime/drain.py", "                    await hub.settle()\n", "                    pass\n"),
    ),
    switch(
        14,
        "all are told to come back at the same time",
        "faults/test_drain.py::test_people_do_not_all_come_back_at_once",
        ("mana/realtime/drain.py", "random.uniform(0.1, 0.1 + spread)", "0.1 + spread"),
    ),
    switch(
        14,
        "a thread that waits for the database keeps the process",
        "faults/test_drain.py::test_a_database_that_does_not_answer_does_not_hold_the_process_up[postgres]",
        ("mana/realtime/drain.py", "            last_resort.start()\n", ""),
    ),
)
