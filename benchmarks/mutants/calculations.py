"""Faults in science, in the engines and in the tasks."""

from __future__ import annotations

from benchmarks.mutants.mutant import Mutant

__all__ = ["CALCULATIONS"]

_QE_OUT = ("unit/engines/dft/test_qe_outputs.py",)
_QE_IN = ("unit/engines/dft/test_qe_inputs.py", "unit/engines/dft/test_qe_kpoints.py")
_MD = ("unit/engines/md",)
_EMBEDDING = ("unit/science/test_embedding.py", "unit/science/test_embedding_by_potential.py")
_EOS = ("unit/science/test_equation_of_state.py",)
_FIT_ROWS = ("unit/engines/train/test_pacemaker_data.py",)

CALCULATIONS = (
    # --- science
    Mutant(
        "core atoms that the potential can tell apart stay in the core",
        "science/embedding/cut.py",
        "core = core[differences[core] <= _TOLERANCE]",
        "core = core[differences[core] <= 1e9]",
        _EMBEDDING,
    ),
    Mutant(
        "the core reaches to where neighbours differ from the parent's",
        "science/embedding/cut.py",
        "near[radii[near] >= self.environment_a]",
        "near[radii[near] >= 0]",
        _EMBEDDING,
    ),
    Mutant(
        "the extrapolation grade is left out of the comparison with the parent",
        "science/embedding/core.py",
        "(inside.gamma, outside.gamma)):",
        "(None, None)):",
        _EMBEDDING,
    ),
    Mutant(
        "volume strain taken for a linear one",
        "science/properties/equation_of_state.py",
        "(1 + strain) ** (1 / 3)",
        "(1 + strain)",
        _EOS,
    ),
    Mutant(
        "bulk modulus without the volume",
        "science/properties/equation_of_state.py",
        "bulk_modulus_gpa=v * e_vv",
        "bulk_modulus_gpa=e_vv",
        _EOS,
    ),
    Mutant(
        "a minimum outside the sampled volumes is trusted",
        "science/properties/equation_of_state.py",
        "if x.min() <= value <= x.max()",
        "if value > 0",
        _EOS,
    ),
    Mutant(
        "k-points are rounded down",
        "science/kpoints.py",
        "math.ceil(length / spacing_per_a - _ROUNDING)",
        "math.floor(length / spacing_per_a)",
        ("unit/science/test_dft_rules.py", "unit/engines/dft/test_qe_inputs.py"),
    ),
    Mutant(
        "a group is split between training and test",
        "science/dataset.py",
        "if item.provenance.group not in held_out)",
        "if item.provenance.group not in held_out or item is items[-1])",
        ("unit/science/test_dataset.py",),
    ),
    Mutant(
        "structures held out once are drawn anew",
        "science/dataset.py",
        "held_out = set(earlier)",
        "held_out: set[str] = set()",
        ("unit/science/test_dataset.py",),
    ),
    Mutant(
        "labels of two methods are mixed",
        "science/dataset.py",
        "for item in items}) <= 1",
        "for item in items}) <= 2",
        ("unit/science/test_dataset.py", "unit/tasks/test_train_task.py"),
    ),
    Mutant(
        "hydrogen's looser contact limit is a tighter one",
        "science/contacts.py",
        "np.where(with_hydrogen, hydrogen_slack, 1.0)",
        "np.where(with_hydrogen, 1 / hydrogen_slack, 1.0)",
        ("unit/science/test_contacts.py", "unit/science/test_screening.py"),
    ),
    Mutant(
        "energy per cell in the screen",
        "science/screening.py",
        "energy = float(probe.get_potential_energy()) / len(probe)",
        "energy = float(probe.get_potential_energy())",
        ("unit/science/test_screening.py",),
    ),
    Mutant(
        "the farthest point is the nearest",
        "science/selection/fps.py",
        "best = int(np.argmax(familiar.squared * squared_worth))",
        "best = int(np.argmin(np.where(familiar.squared < 0, np.inf, familiar.squared)))",
        ("unit/science/test_selection.py",),
    ),
    Mutant(
        "the random share is not drawn from the seed",
        "science/selection/batch.py",
        "for index in rng.permutation(total)]",
        "for index in np.random.default_rng().permutation(total)]",
        ("unit/science/test_selection.py",),
    ),
    Mutant(
        "errors that nobody knows count as small",
        "science/stopping.py",
        'return name, False, f"{label} is not known',
        'return name, True, f"{label} is not known',
        ("unit/science/test_stopping.py",),
    ),
    Mutant(
        "a property that moved by more than asked counts as standing still",
        "science/stopping.py",
        "met = change < limit",
        "met = change > limit",
        ("unit/science/test_stopping.py",),
    ),
    Mutant(
        "Newton step towards the maximum",
        "science/molecule_at_rest.py",
        "return np.asarray(step * min(1.0",
        "return np.asarray(-step * min(1.0",
        ("unit/science/test_molecule_at_rest.py",),
    ),
    Mutant(
        "shear components of the strain in another order than those of the stress",
        "science/properties/elastic.py",
        "((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))",
        "((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))",
        ("unit/science/test_elastic.py",),
    ),
    Mutant(
        "shear strains taken for those of the tensor",
        "science/properties/elastic.py",
        "value if i == j else value / 2",
        "value",
        ("unit/science/test_elastic.py",),
    ),
    Mutant(
        "a property that is not known counts as within its tolerance",
        "science/stopping.py",
        "(item.key, item.met is True,",
        "(item.key, item.met is not False,",
        ("unit/science/test_stopping.py",),
    ),
    Mutant(
        "both sides of a vibration exchanged",
        "science/properties/molecule.py",
        "            pair[1][1].forces,\n            pair[-1][1].forces,",
        "            pair[-1][1].forces,\n            pair[1][1].forces,",
        ("unit/science/test_molecule_at_rest.py",),
    ),
    Mutant(
        "the potential is held against its own values",
        "science/properties/port.py",
        "answers = [_by(calculator, answer, label.method_hash) for",
        "answers = [answer for",
        ("contract/test_properties.py",),
    ),
    # --- engines
    Mutant(
        "sign of the stress of Quantum ESPRESSO",
        "engines/dft/quantum_espresso/outputs.py",
        "tensor = -values.reshape(3, 3)",
        "tensor = values.reshape(3, 3)",
        _QE_OUT,
    ),
    Mutant(
        "order of the stress",
        "engines/dft/quantum_espresso/outputs.py",
        "(2, 2), (1, 2), (0, 2), (0, 1))",
        "(2, 2), (0, 1), (0, 2), (1, 2))",
        _QE_OUT,
    ),
    Mutant(
        "forces in Rydberg",
        "engines/dft/quantum_espresso/outputs.py",
        "reshape(-1, 3) * (HARTREE_EV / BOHR_A)",
        "reshape(-1, 3) * (HARTREE_EV / 2 / BOHR_A)",
        _QE_OUT,
    ),
    Mutant(
        "energy in Rydberg",
        "engines/dft/quantum_espresso/outputs.py",
        '_text(output, "total_energy/etot")) * HARTREE_EV',
        '_text(output, "total_energy/etot")) * HARTREE_EV / 2',
        _QE_OUT,
    ),
    Mutant(
        "a net force is no problem",
        "engines/dft/checks.py",
        "if net > NET_FORCE_PER_ATOM_EV_PER_A:",
        "if net > 1e9:",
        ("unit/engines/dft",),
    ),
    Mutant(
        "convergence threshold of the whole cell instead of per atom",
        "engines/dft/quantum_espresso/inputs.py",
        "conv_thr_ry_per_atom * len(atoms)",
        "conv_thr_ry_per_atom",
        _QE_IN,
    ),
    Mutant(
        "crystals lose their symmetry",
        "engines/dft/quantum_espresso/sampling.py",
        "return best if best.points <= plain.points else plain",
        "return plain",
        ("unit/engines/dft/test_qe_sampling.py",),
    ),
    Mutant(
        "the stress of a turned crystal is turned the other way",
        "engines/dft/quantum_espresso/outputs.py",
        "tensor = back.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ back",
        "tensor = back @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ back.T",
        ("unit/engines/dft/test_qe_sampling.py",),
    ),
    Mutant(
        "starting moment in Bohr magnetons",
        "engines/dft/quantum_espresso/inputs.py",
        " / z_valence[symbol]",
        " / 1.0",
        _QE_IN,
    ),
    Mutant(
        "sign of the virial in MD",
        "engines/md/lammps/potential_fix.py",
        "(-result.virial)",
        "(result.virial)",
        _MD,
    ),
    Mutant(
        "the clean time is not reset at a swap",
        "engines/md/lammps/engine.py",
        "self.counters.clean_from = self.counters.adopted_at = self.counters.step",
        "self.counters.adopted_at = self.counters.step",
        _MD,
    ),
    Mutant(
        "gamma above select does not break the clean time",
        "engines/md/lammps/engine.py",
        "            self.counters.clean_from = step\n",
        "",
        _MD,
    ),
    Mutant(
        "a break does not end the clean time",
        "engines/md/lammps/engine.py",
        "        self.counters.clean_from = self.counters.step\n        self._stream_offending()",
        "        self._stream_offending()",
        _MD,
    ),
    Mutant(
        "velocities in units of ASE",
        "engines/md/lammps/simulation.py",
        "_VELOCITY_TO_A_PER_PS = 1000.0 * units.fs",
        "_VELOCITY_TO_A_PER_PS = 1.0",
        _MD,
    ),
    Mutant(
        "buffer atoms are learned",
        "engines/train/pacemaker/data.py",
        "force_weights = [core_mask(item) * factor",
        "force_weights = [np.ones(len(item.atoms)) * factor",
        _FIT_ROWS,
    ),
    Mutant(
        "reference energies are added",
        "engines/train/pacemaker/data.py",
        "item.label.energy_ev - reference_sum(",
        "item.label.energy_ev + reference_sum(",
        _FIT_ROWS,
    ),
    Mutant(
        "the energy of a masked cell counts in full",
        "engines/train/pacemaker/data.py",
        "if item.core is None else masked_energy_weight for",
        "if item.core is None else 1.0 for",
        _FIT_ROWS,
    ),
    # --- tasks
    Mutant(
        "energy per cell against per atom in validation",
        "science/properties/equation_of_state.py",
        "energies = [label.energy_ev / len(answer.atoms) for",
        "energies = [label.energy_ev for",
        ("unit/tasks/test_validate_task.py",),
    ),
    Mutant(
        "frames that the potential knows by now are cut out",
        "tasks/harvest.py",
        "if gamma.max() <= plan.exploration.gamma_select:",
        "if gamma.max() <= -1.0:",
        ("unit/tasks/test_harvest.py",),
    ),
    Mutant(
        "the last label is lost on its way to the fit",
        "tasks/train.py",
        "for task_id in labels:",
        "for task_id in labels[:-1]:",
        ("unit/tasks/test_train_task.py",),
    ),
)
