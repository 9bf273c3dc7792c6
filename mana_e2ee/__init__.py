"""End-to-end encryption for django-mana: ``core`` is the cryptography, the rest a directory of public keys and a queue
of ciphertext. The server never has a private key or a plaintext."""
