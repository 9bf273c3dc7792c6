"""Rooms, memberships, messages and receipts; the writer and the sequencer that give every event its place."""
