"""`sdxl-train runs`: one file per command."""
