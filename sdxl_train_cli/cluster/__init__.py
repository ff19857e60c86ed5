"""Slurm as the engine: trainings as arrays of sbatch, resumed after preemption, seen from the login node."""
