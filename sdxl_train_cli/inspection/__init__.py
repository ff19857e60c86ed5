"""What a model file is, what it has learned, and which programs can read it."""
