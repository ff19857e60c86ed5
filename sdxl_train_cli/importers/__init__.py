"""Other programs' settings: read into presets of ours, and presets of ours written for other programs."""
