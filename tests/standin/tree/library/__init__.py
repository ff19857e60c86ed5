"""There because sd-scripts has it."""
