"""What sd-scripts makes of options, and what it would refuse or ignore."""
