"""A program that is in a call and plays a file into it."""
