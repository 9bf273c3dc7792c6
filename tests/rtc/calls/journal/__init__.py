"""An app of a project that listens to calls."""
