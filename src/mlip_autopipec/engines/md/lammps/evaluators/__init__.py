"""Which family of potentials is evaluated how inside LAMMPS."""
