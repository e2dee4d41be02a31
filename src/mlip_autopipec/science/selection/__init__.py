"""Which candidates are worth a DFT calculation.

``fps`` farthest points, per structure or per environment; ``clusters`` one of each k-means cluster;
``d_optimal`` those that pin down the coefficients of a linear ACE best; ``batch`` what a whole
batch is made of. Fingerprints may be an array or any table that is read in parts (``rows``):
nothing here holds more than a block of it and a few numbers for each row, so that 100,000
candidates fit into a small memory.
"""

from __future__ import annotations

from mlip_autopipec.science.selection.batch import (
    METHODS,
    MOST_OF_ONE_FAMILY,
    Method,
    Picked,
    numbers_per_second,
    select,
)
from mlip_autopipec.science.selection.d_optimal import d_optimal_points
from mlip_autopipec.science.selection.fps import farthest_environments, farthest_points
from mlip_autopipec.science.selection.k_means import cluster_points, principal_components
from mlip_autopipec.science.selection.rows import Rows, nearest_distances

__all__ = [
    "METHODS",
    "MOST_OF_ONE_FAMILY",
    "Method",
    "Picked",
    "Rows",
    "cluster_points",
    "d_optimal_points",
    "farthest_environments",
    "farthest_points",
    "nearest_distances",
    "numbers_per_second",
    "principal_components",
    "select",
]
