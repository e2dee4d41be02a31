"""The convergence check of a DFT method."""
