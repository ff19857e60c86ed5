"""sd-scripts and its environment: whole or absent."""
