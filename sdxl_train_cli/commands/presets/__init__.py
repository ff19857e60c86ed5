"""`sdxl-train presets`: a file for each of its commands."""
