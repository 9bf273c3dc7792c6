"""The SFU: rooms, their participants, and the negotiation of what each publishes and receives."""
