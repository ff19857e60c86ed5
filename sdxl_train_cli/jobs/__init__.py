"""A queue of trainings: kept on disk, worked off one after another on each GPU, resumed after any interruption."""
