"""Janus' VideoRoom plugin as the engine: a room there for each room with media, two handles for each participant."""
