"""`sdxl-train queue ...`."""
