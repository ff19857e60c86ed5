"""Plays accelerate: only its launcher is here."""
