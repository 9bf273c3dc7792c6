"""The tests of the protocol core. None needs Django."""
