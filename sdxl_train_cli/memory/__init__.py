"""GPU memory: measured, estimated, planned for, learned."""
