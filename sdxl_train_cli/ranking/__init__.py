"""Which checkpoint of a run to keep, and how sure that is."""
