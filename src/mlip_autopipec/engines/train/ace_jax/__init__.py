"""Linear ACE with ace-jax (MIT): a trainer that may be used commercially.

Files of this folder::

    engine.py      the trainer behind the Trainer port
    schema.py      its settings, and how they are derived
    job.py         job.json
    jaxed.py       the door to jax: threads, precision, compiled code that is kept
    neighbours.py  structures as padded arrays
    design.py      basis and design matrix, both by ace-jax
    regression.py  weights and masks, ridge regression, cross-validation
    references.py  energies of the elements
    core.py        repulsion of nuclei, beside the expansion
    guard.py       active set and extrapolation grade (MaxVol)
    potential.py   evaluation of a finished potential, ASE calculator
    lammps.py      the same inside LAMMPS
    posterior.py   calibrated force errors
    run.py         `python -m ...ace_jax.run job.json`: fit, then everything that follows
"""
