"""What ``from mana import messages, rooms`` gives: the services by their subject, as docs/python-api.md lists them."""
