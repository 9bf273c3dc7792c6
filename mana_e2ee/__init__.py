"""End-to-end encryption for django-mana. The core is in `mana_e2ee.core`; the Django app is empty yet."""
