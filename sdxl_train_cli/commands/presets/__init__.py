"""`sdxl-train presets`: one file per command."""
