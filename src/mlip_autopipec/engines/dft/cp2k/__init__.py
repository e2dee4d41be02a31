"""CP2K as a labelling engine: Gaussians and plane waves, GTH pseudopotentials, PBE."""
