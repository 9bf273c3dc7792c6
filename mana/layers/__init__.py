"""Channel layers for ``CHANNEL_LAYERS`` that Channels itself does not have."""
