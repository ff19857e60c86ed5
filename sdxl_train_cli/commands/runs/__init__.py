"""`sdxl-train runs`: a file for each of its commands."""
