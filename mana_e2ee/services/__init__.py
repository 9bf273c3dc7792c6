"""What can be done with keys, device lists and ciphertext: one module per subject."""
