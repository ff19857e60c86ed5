"""The parts of scripts/attack.py: a world, calls in it, what is judged, and one module for each kind of attack."""
