"""Several processes that are one chat."""
