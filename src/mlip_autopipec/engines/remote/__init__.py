"""Calculators whose packages live in another interpreter."""
