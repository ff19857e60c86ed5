"""`sdxl-train cluster ...`."""
