"""Molecular dynamics programs."""
