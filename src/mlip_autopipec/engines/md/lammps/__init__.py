"""Molecular dynamics with LAMMPS as a library; the ACE potential is evaluated by pyace on LAMMPS'
neighbour list.
"""
