"""Quantum ESPRESSO (pw.x) as the labelling engine."""
