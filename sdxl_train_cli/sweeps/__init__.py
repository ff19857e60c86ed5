"""Trainings that differ in a few settings: their points, the queue's jobs for them, and what came of each."""
