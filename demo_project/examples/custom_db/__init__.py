"""A shop: what is sold, what was ordered, and the chat with the seller, in one transaction."""
