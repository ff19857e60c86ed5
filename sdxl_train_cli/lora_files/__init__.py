"""Change finished files: metadata, rank, names; merge them, or extract one from a checkpoint."""
