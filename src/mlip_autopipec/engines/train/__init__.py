"""Trainers, one folder per family of potentials."""
