"""Presets: found, read, compared, made."""
