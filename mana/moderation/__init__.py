"""Reports of people, rooms and messages, what moderators do about them, and who did what."""
