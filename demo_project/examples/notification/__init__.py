"""Telling people of something, on all of their devices."""
