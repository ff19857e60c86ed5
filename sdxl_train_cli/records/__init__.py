"""What a run leaves behind, and what can be done with it."""
