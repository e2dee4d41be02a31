"""Deliberate faults in lines that matter, over all rooms: what stands there, what is put there
instead, and the tests (below ``tests/``) that have to notice.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault. ``file``: below ``src/mlip_autopipec``; ``old`` stands there exactly once."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_DECIDE = ("unit/campaign",)
_QE_OUT = ("unit/engines/dft/test_qe_outputs.py",)
_QE_IN = ("unit/engines/dft/test_qe_inputs.py",)
_MD = ("unit/engines/md",)
_EMBEDDING = ("unit/science/test_embedding.py", "unit/science/test_embedding_by_potential.py")
_EOS = ("unit/science/test_equation_of_state.py",)
_FIT_ROWS = ("unit/engines/train/test_pacemaker_data.py",)
_PAGES = ("unit/report",)

MUTANTS = (
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
        "best = int(np.argmax(familiar.squared))",
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
        '["conv_thr_ry_per_atom"]) * len(atoms)',
        '["conv_thr_ry_per_atom"])',
        _QE_IN,
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
        'for task_id in spec.payload["labels"]:',
        'for task_id in spec.payload["labels"][:-1]:',
        ("unit/tasks/test_train_task.py",),
    ),
    # --- campaign
    Mutant(
        "a clean MD run counts for a potential that did not make it",
        "campaign/exploring.py",
        "result.clean and result.potential in recent",
        "result.clean",
        ("unit/campaign/test_exploring.py",),
    ),
    Mutant(
        "vanished workers use up the repair ladder",
        "campaign/attempts.py",
        "[f for f in record.failures if f.kind not in (LOST, STOPPED)]",
        "list(record.failures)",
        ("unit/campaign/test_attempts.py",),
    ),
    Mutant(
        "a vanished worker is tried for ever",
        "campaign/attempts.py",
        "for item in earlier) < MAX_LOST",
        "for item in earlier) < 10**9",
        ("unit/campaign/test_attempts.py",),
    ),
    Mutant(
        "repairs cost nothing of the budget",
        "campaign/state.py",
        'self._label_attempts += record.task.kind == "label"',
        'self._label_attempts += record.task.kind == "label" and attempt == 1',
        ("unit/campaign/test_attempts.py",),
    ),
    Mutant(
        "labels of the validation are trained on",
        "campaign/training.py",
        'in state.labels("train") if record.status == "done"]',
        'in state.of_kind("label") if record.status == "done"]',
        _DECIDE,
    ),
    Mutant(
        "the youngest task first",
        "campaign/state.py",
        "bisect.insort(self._queue, (record.task.priority, record.order, name))",
        "bisect.insort(self._queue, (record.task.priority, -record.order, name))",
        ("unit/campaign/test_schedule.py", "unit/campaign/test_decide.py"),
    ),
    Mutant(
        "more tasks than cores",
        "campaign/schedule.py",
        "used + record.task.cores <= cores",
        "used + record.task.cores <= cores + 1",
        ("unit/campaign/test_schedule.py",),
    ),
    Mutant(
        "every visit of MD draws the same velocities",
        "campaign/exploring.py",
        "1000 * (index + 1) + number",
        "1000",
        ("unit/campaign/test_exploring.py",),
    ),
    Mutant(
        "one label more than the limit",
        "campaign/label_only.py",
        "state.dft_calls >= calls",
        "state.dft_calls > calls",
        ("unit/campaign", "unit/commands/test_label.py"),
    ),
    Mutant(
        "no room is kept for the validation",
        "campaign/budget.py",
        " - queued - owed(plan, state)",
        " - queued",
        ("unit/campaign/test_budget.py",),
    ),
    Mutant(
        "what a property still has to ask is not kept free",
        "campaign/properties.py",
        "return rest if unknown else coming",
        "return coming",
        _DECIDE,
    ),
    Mutant(
        "labels of one property are those of another",
        "campaign/labels.py",
        'payload["property"] = of_property',
        'payload["property"] = "equation_of_state"',
        ("unit/campaign/test_property_campaign.py",),
    ),
    # --- runtime and base
    Mutant(
        "a file is written in place",
        "base/files.py",
        "os.replace(temporary, path)",
        "path.write_bytes(raw)",
        ("unit/base",),
    ),
    Mutant(
        "a claimed folder may be claimed again",
        "base/files.py",
        "os.O_CREAT | os.O_EXCL | os.O_WRONLY",
        "os.O_CREAT | os.O_WRONLY",
        ("unit/base",),
    ),
    Mutant(
        "the place in the stream forgets what was read before",
        "runtime/streams.py",
        "offset += len(line)",
        "offset = len(line)",
        ("unit/runtime/test_streams.py",),
    ),
    # --- what people see
    Mutant(
        "a cure that worked is counted as one that did not",
        "report/failures.py",
        "worked + int(following.outcome.ok)",
        "worked + int(not following.outcome.ok)",
        _PAGES,
    ),
    Mutant(
        "the table of failures lacks its cures",
        "report/failures.py",
        "if attempt.cure and following is not None",
        "if not attempt.cure and following is not None",
        _PAGES,
    ),
    Mutant(
        "lost core hours are seconds",
        "report/failures.py",
        "core_hours_lost=count.cpu_s / 3600",
        "core_hours_lost=count.cpu_s",
        _PAGES,
    ),
    Mutant(
        "what the user stopped counts as a failure",
        "report/failures.py",
        "attempt.outcome.failure.kind != STOPPED",
        "attempt.outcome.failure.kind != ''",
        ("unit/commands/test_label.py",),
    ),
    Mutant(
        "a target is met where its limit is passed",
        "report/rows.py",
        "None if value is None else value <= limit",
        "None if value is None else value >= limit",
        _PAGES,
    ),
    Mutant(
        "the wait of MD ends with its task, not at the swap",
        "report/timeline.py",
        "case MdSwapped() | MdResumed() if self.waits_since is not None:",
        "case MdBroke() if self.waits_since is not None:",
        _PAGES,
    ),
    Mutant(
        "MD that waits counts as at work",
        "report/timeline.py",
        "for row in rows if row.kind in kinds for span in row.at_work",
        "for row in rows if row.kind in kinds for span in [(row.start, row.end)]",
        _PAGES,
    ),
    Mutant(
        "held-out structures are said to be learned from",
        "report/training_file.py",
        '"test" if item.name in held_out else "train"',
        '"train" if item.name in held_out else "test"',
        _PAGES,
    ),
    Mutant(
        "the buffer of a cutout has full weight",
        "report/training_file.py",
        "else np.zeros(len(atoms))",
        "else np.ones(len(atoms))",
        _PAGES,
    ),
    Mutant(
        "the result is of the fast fit, not of the released kind",
        "report/findings.py",
        "potential.trainer == plan.training.trainer",
        "potential.trainer != plan.training.trainer",
        _PAGES,
    ),
    Mutant(
        "a status of version 1 loses its failures",
        "report/values.py",
        'data.get("healing", [])',
        "[]",
        _PAGES,
    ),
    Mutant(
        "a swap leaves MD waiting",
        "campaign/state.py",
        "attempt.potential, attempt.waiting = event.new, False",
        "attempt.potential = event.new",
        ("unit/campaign/test_events.py",),
    ),
    Mutant(
        "progress of the potential before is told of the new one",
        "campaign/state.py",
        "attempt.progress, attempt.waiting = event, event.waiting",
        "attempt.waiting = event.waiting",
        ("unit/campaign/test_events.py", "unit/report/test_status_page.py"),
    ),
)
