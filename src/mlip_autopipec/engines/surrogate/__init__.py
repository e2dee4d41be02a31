"""Pretrained potentials."""
