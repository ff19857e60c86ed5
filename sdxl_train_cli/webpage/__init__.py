"""Web pages that need nothing else: no network, no other file."""
