"""ACE potentials with python-ace: the `pacemaker` program and a linear least-squares fit.

Files of this folder::

    engine.py      the two trainers behind the Trainer port
    schema.py      the settings of both, and how they are derived
    config.py      basis, loss and the names of files
    inputs.py      job.json and the input file of `pacemaker`
    data.py        reference energies, weights and force masks -> rows of a fit
    weights.py     how much a structure counts, by its height above the hull
    design.py      energy, forces and stress as linear functions of the coefficients
    regression.py  ridge regression, cross-validation, resampled fits
    posterior.py   calibrated force errors
    fit_linear.py  linear ACE from these
    fit_nonlinear.py  runs the `pacemaker` program
    potential.py   core repulsion, LAMMPS export, ASE calculator
    active_set.py  the guard: a small basis and its active set
    evaluate.py    predictions
    run.py         `python -m ...pacemaker.run job.json`: fit, then everything that follows

Energies: ``potential.yaml`` gives E - sum of the reference energies (stored in its metadata: the
B-basis has no room for a constant); ``potential.yace`` (E0 per element) and
:func:`potential.load_calculator` give the total DFT energy.
"""
