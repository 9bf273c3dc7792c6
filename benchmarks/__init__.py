"""``python -m benchmarks``: how fast and small the project is, against baselines of the same run."""
