"""`sdxl-train dataset`: a file for each of its commands."""
