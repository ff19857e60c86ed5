"""`sdxl-train sweep ...`."""
