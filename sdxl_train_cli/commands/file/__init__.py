"""`sdxl-train file`: show, edit, resize, merge, extract and convert finished files."""
