"""How large a cutout has to be, and what fits into it: numbers that plans are made of too."""

from __future__ import annotations

__all__ = ["CUTOUT_SIZES", "HALF_DISTANCE_FRACTION", "MIN_CUTOUT_ATOMS"]

#: Core atoms of a smaller cutout see its images. Silicon at 900 K, a linear ACE as truth, force
#: difference of core atoms to the parent (length of the vector, meV/Å): 122 in cutouts of 32
#: atoms, 82 of 64, 45 of 96, 37 of 128. Below, small whole cells teach more for less.
MIN_CUTOUT_ATOMS = 96

#: Sizes that a plan may choose, largest first.
CUTOUT_SIZES = (128, MIN_CUTOUT_ATOMS)

#: Half the distance of the images of a compact cell over the cube root of its volume: 0.561 for the
#: densest packing of images, 0.5 for a cube; supercells of crystals come near the first.
HALF_DISTANCE_FRACTION = 0.54
