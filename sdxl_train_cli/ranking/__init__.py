"""Which checkpoint of a training to keep, and how sure that is."""
