"""`sdxl-train dataset`: one file per command."""
