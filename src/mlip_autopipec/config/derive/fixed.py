"""Reasons for the numbers that no material changes (the defaults of
:mod:`mlip_autopipec.config.plan`).
"""

from __future__ import annotations

__all__ = ["FIXED"]

FIXED: dict[str, str] = {
    "version": "format of this file",
    "dft.engine": "the DFT program",
    "dft.max_force_ev_per_a": "labels with harder forces are refused",
    "dft.walltime_s": "one attempt; then it is restarted from where it was",
    "dft.max_attempts": "then the structure is quarantined with its history",
    "dft.threads": "MPI ranks scale better than OpenMP threads in small cells",
    "dft.cores": "two single-core calculations beat one on two cores",
    "surrogate.max_force_ev_per_a": (
        "harder structures are far from anything the potential has to know"
    ),
    "surrogate.max_energy_above_lowest_ev_per_atom": "above the lowest of the same composition",
    "surrogate.min_distance_factor": "times the sum of covalent radii; closer pairs are refused",
    "selection.method": (
        "first set: farthest points learn the corners, so that MD and random picks lie between them"
    ),
    "selection.later_method": (
        "farthest from what is known; d_optimal may gain at large forces, not near equilibrium"
    ),
    "selection.random_fraction": (
        "of each batch, by chance: other picks are weak near equilibrium"
    ),
    "training.fast_trainer": "a linear fit costs seconds; it steers the first rounds",
    "training.trainer": "who fits the released potential",
    "training.fast_rounds": "rounds of the fast trainer; no effect where it is the only one",
    "training.held_out_fraction": "of the labels, by group, where the trainer has no folds",
    "training.min_new_labels": "fewer do not pay for a new fit",
    "training.walltime_s": "one fit; then it counts as failed",
    "training.cores": "the other cores keep labelling",
    "exploration.engine": "the MD program",
    "exploration.gamma_every": "steps between two evaluations of the extrapolation grade",
    "exploration.equilibration_ps": "ten times the thermostat's memory, before the run counts",
    "exploration.wait_s": "for a better potential, after gamma_break",
    "embedding.seam_force_ev_per_a": (
        "buffer atoms are relaxed until no force at the seam exceeds it"
    ),
    "embedding.energy_weight": "of a cutout with unphysical atoms; a calm one counts in full",
    "rules.exploration_share": (
        "of the wall time, for labels and MD; the rest: last fit, validation, report"
    ),
    "rules.quarantined_share": (
        "of the labels given up: with more, settings are wrong rather than structures"
    ),
    "rules.fewest_judged": "ended labels before that share is judged: fewer say little of it",
    "rules.failed_fits": (
        "in a row, then the fast trainer stands in for the released one, or a person has to look"
    ),
    "rules.failed_visits": "of MD at one condition, then it is given up there",
    "rules.cold_every": "fits one starts from scratch, lest warm starts keep an early minimum",
    "rules.backlog_batches": (
        "times min_new_labels: so many new labels are fitted though others are on their way"
    ),
    "rules.audited_share": "of the first labels, of what the screen rejected: is it right?",
    "rules.most_audited": "of these: they are never learned, so they only cost",
    "rules.on_policy_per_visit": (
        "drawn by chance at each asked condition, until its errors are small for sure"
    ),
    "executor.name": "processes on this machine",
}
