"""Pair style ``pace`` for LAMMPS builds without ML-PACE: source, build and launcher."""
