"""The classes of failures of pw.x and what cures each, in words for a person.

No cure destroys anything: files of an earlier run are moved aside, never removed. Where one cause
within a class needs other words, its rule (:mod:`.failure_rules`, :mod:`.machine_rules`) has them.
What our own runs try, class by class, is in :mod:`.cures`.
"""

from __future__ import annotations

__all__ = ["CLASSES", "CURES", "KINDS", "MACHINE", "MAGNETIC_STATE", "shown_as"]

#: pw.x cannot start or run on this machine: told apart from ``unknown`` for our own runs only,
#: where neither other numerics nor another structure helps.
MACHINE = "machine"

#: The moments are not those that the structure or the method started from: of our own runs only.
MAGNETIC_STATE = "magnetic_state"

CURES: dict[str, str] = {
    "ok": "nothing to do",
    "scf_not_converged": (
        "mixing_beta 0.3, then 0.2 with mixing_ndim 12; local-TF for slabs; smearing for metals;"
        " more steps only where the estimated accuracy still falls"
    ),
    "diagonalization": (
        "another solver (diagonalization = 'cg' or 'paro'; 'david' where those failed), -ndiag 1;"
        " with ultrasoft potentials look for atoms too close"
    ),
    "out_of_walltime": (
        "start again (a relaxation from its last structure) with max_seconds at 95 % of the wall"
        " time, so that it stops cleanly and can be restarted; more time"
    ),
    "interrupted": "run it again; with max_seconds set it stops cleanly and can be restarted",
    "too_few_bands": "leave nbnd out, or raise it above half the number of electrons",
    "smearing_needed": (
        "occupations = 'smearing', smearing = 'mv', degauss = 0.01; with nspin = 2 also moments"
    ),
    "charge_wrong": (
        "smaller mixing_beta, another solver; check tot_charge, nbnd and the pseudopotentials"
    ),
    "symmetry": (
        "write the cell and positions with more digits, or nosym = .true. and noinv = .true."
    ),
    "geometry": (
        "look at the structure: atoms too close or a cell without volume; no setting of pw.x helps"
    ),
    "parallelization": "fewer pools (npool <= k-points and ranks), -ndiag 1, fewer ranks",
    "fft_volume": "start again from the last cell, with a larger cell_factor",
    "ionic_not_converged": (
        "continue from the last structure printed; more nstep; for BFGS a smaller trust_radius_max "
        "or tighter conv_thr"
    ),
    "exx": "another exxdiv_treatment, or a larger ecutfock",
    "pseudopotential": (
        "check the UPF files: names in ATOMIC_SPECIES, pseudo_dir, checksum, one functional for all"
    ),
    "input": "correct the input at the place that pw.x names",
    "out_of_memory": (
        "more nodes or ranks with fewer pools, disk_io = 'low', mixing_ndim 4, diagonalization ="
        " 'cg'"
    ),
    "disk": "another outdir with space and write permission, disk_io = 'low'",
    "restart_corrupt": (
        "start with restart_mode = 'from_scratch' in a new outdir and keep the old one until that"
        " is done; for nscf and bands: the scf first, with the same prefix, outdir and nspin"
    ),
    "unknown": "read the lines shown; restart once as it is",
}

#: Every class a diagnosis can have.
CLASSES: tuple[str, ...] = tuple(CURES)
KINDS: frozenset[str] = frozenset(CLASSES) - {"ok"} | {MACHINE, MAGNETIC_STATE}


def shown_as(kind: str) -> str:
    """The class that a diagnosis shows for the kind of a failure."""
    return "unknown" if kind in (MACHINE, MAGNETIC_STATE) else kind
