"""The linear fit: what counts, what is chosen, and predictions of labels by fits without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from linear_fits_for_tests import copper, fitted, job, labelled

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines.md.lammps.evaluators.ace import AceEvaluator
from mlip_autopipec.engines.ports import PredictsErrors, Resamples, Trained
from mlip_autopipec.engines.train.pacemaker.design import (
    FORCE,
    Design,
    LinearBasis,
)
from mlip_autopipec.engines.train.pacemaker.engine import LinearAce
from mlip_autopipec.engines.train.pacemaker.fit_nonlinear import refusals
from mlip_autopipec.engines.train.pacemaker.inputs import settings_of
from mlip_autopipec.engines.train.pacemaker.posterior import Posterior
from mlip_autopipec.engines.train.pacemaker.regression import (
    Hyperparameters,
    Regression,
    cross_validate,
    folds_of,
)
from mlip_autopipec.engines.train.pacemaker.weights import heights, structure_weights
from mlip_autopipec.science.dataset import refusal
from mlip_autopipec.science.leverages import calibrate
from mlip_autopipec.science.predictions import Predictions

CHOSEN = Hyperparameters(1e-8, 1e9, 0.0, 1.0 - 1e-12)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return fitted(job([copper(seed) for seed in range(16)]), tmp_path_factory.mktemp("plain"))


# --- weights


def test_heights_are_above_the_hull_of_the_own_composition() -> None:
    counts = np.array([[2, 0], [0, 2], [2, 2], [2, 2], [1, 3]])
    energies = [-2.0, -8.0, -14.0, -10.0, -13.0]
    # The hull joins -1 and -4 eV/atom at the ends with -3.5 half way.
    expected = [0.0, 0.0, 0.0, 1.0, -3.25 + 3.75]
    assert heights(counts, energies) == pytest.approx(expected)


def test_one_broken_label_does_not_own_the_weights() -> None:
    sane = [-20.0, -20.1, -19.9, -20.2]
    counts = np.full((5, 1), 4)
    found = heights(counts, [*sane, -60.0])
    assert found[:4] == pytest.approx((np.array(sane) + 20.2) / 4)
    weights = structure_weights(found, 0.1)
    assert weights[3] == 1.0 and weights[4] < 1e-3


# --- algebra


def a_design(seed: int = 0, columns: int = 6) -> Design:
    rng = np.random.default_rng(seed)
    items = tuple(copper(number) for number in range(10))
    rows = 12 * len(items)
    matrix = rng.normal(size=(rows, columns)) * np.logspace(-3, 3, columns)
    target = matrix @ np.logspace(3, -3, columns) + rng.normal(scale=0.1, size=rows)
    structure = np.repeat(np.arange(len(items)), 12)
    return Design(items, matrix, target, structure, np.full(rows, FORCE))


def regression(design: Design) -> Regression:
    n = len(design.items)
    return Regression(design, np.zeros(n), np.ones(n), np.ones(design.matrix.shape[1]))


def test_out_of_fold_predictions_are_those_of_fits_without_the_fold() -> None:
    design = a_design()
    chosen = replace(CHOSEN, ridge=1e-14)
    folds = folds_of([str(n) for n in range(10)], ["a"] * 10, 0, 60)
    solution = cross_validate(regression(design), chosen, folds, seed=0)
    assert solution.out_of_fold is not None
    for number in (0, 7):
        own = design.structure == number
        left = np.linalg.lstsq(design.matrix[~own], design.target[~own], rcond=None)[0]
        predicted = design.matrix[own] @ left
        np.testing.assert_allclose(solution.out_of_fold.predicted[own], predicted, rtol=1e-6)
        normal = design.matrix[~own].T @ design.matrix[~own] / len(design.target)
        reach = np.einsum(
            "ij,jk,ik->i", design.matrix[own], np.linalg.inv(normal), design.matrix[own]
        )
        np.testing.assert_allclose(solution.out_of_fold.leverage[own], reach, rtol=1e-5)


def test_the_coefficients_minimise_the_weighted_squares() -> None:
    design = a_design()
    folds = np.zeros(10, dtype=np.int64)
    solution = cross_validate(regression(design), replace(CHOSEN, ridge=1e-14), folds, seed=0)
    exact = np.linalg.lstsq(design.matrix, design.target, rcond=None)[0]
    np.testing.assert_allclose(solution.coefficients, exact, rtol=1e-6)
    assert solution.out_of_fold is None
    half = replace(CHOSEN, ridge=1e-14, half_weight_ev_per_atom=1.0)
    high = np.where(np.arange(10) < 5, 0.0, 1e4)  # eV/atom: no weight
    n = len(design.items)
    one = Regression(design, high, np.ones(n), np.ones(design.matrix.shape[1]))
    kept = design.structure < 5
    exact = np.linalg.lstsq(design.matrix[kept], design.target[kept], rcond=None)[0]
    found = cross_validate(one, half, folds, seed=0).coefficients
    np.testing.assert_allclose(found, exact, rtol=1e-4)


def test_folds_keep_groups_together_and_are_the_same_again() -> None:
    groups = [f"g{number // 3}" for number in range(30)]
    kinds = ["crystal"] * 15 + ["melt"] * 15
    folds = folds_of(groups, kinds, 3, 5)
    for group in set(groups):
        assert (
            len({int(fold) for fold, own in zip(folds, groups, strict=True) if own == group}) == 1
        )
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(folds, folds_of(groups, kinds, 3, 5))
    for kind in ("crystal", "melt"):  # each fold has one group of either
        assert len({int(f) for f, own in zip(folds, kinds, strict=True) if own == kind}) == 5


def test_the_calibrated_error_rises_with_the_leverage_and_beyond_what_was_seen() -> None:
    rng = np.random.default_rng(0)
    leverage = rng.uniform(0.1, 1.0, size=2000)
    squares = (0.2 * leverage * rng.normal(size=2000)) ** 2
    knots, errors = calibrate(leverage, squares)
    assert (np.diff(errors) >= 0).all()
    posterior = Posterior(np.eye(1), knots, errors, np.ones(1), np.ones((1, 1)))
    found = posterior.errors(np.array([0.3, 0.9, 3.0]))
    assert found == pytest.approx([0.06, 0.18, 0.6], rel=0.2)


# --- whole fits


def test_every_label_is_predicted_by_a_fit_without_it(plain: Trained) -> None:
    rows = Predictions.from_json(read_json(plain.folder / "predictions.json"))
    assert {row.name for row in rows.test} == {f"s{seed}" for seed in range(16)}
    assert plain.metrics["cross_validated"] is True
    assert plain.metrics["test"]["n_structures"] == 16
    training, unseen = (plain.metrics[part]["force_rmse_mev_per_a"] for part in ("train", "test"))
    assert training < unseen < 150.0
    assert plain.metrics["limits"]["limited_by"] in ("data", "capacity")
    assert plain.metrics["chosen"]["ridge"] > 0
    assert plain.metrics["gamma_train_max"] <= 1.002


def test_the_trainer_knows_how_wrong_it_is(plain: Trained) -> None:
    trainer = LinearAce()
    assert isinstance(trainer, PredictsErrors) and isinstance(trainer, Resamples)
    calm, wild = (
        [copper(50 + n).atoms for n in range(4)],
        [copper(60 + n, spread=0.45, size=0.93).atoms for n in range(4)],
    )
    found = trainer.force_errors(plain.folder, [*calm, *wild])
    assert [len(errors) for errors in found] == [4] * 8
    assert np.mean(found[4:]) > 2 * np.mean(found[:4]) > 0
    true = []
    for atoms in calm:
        probe = atoms.copy()
        probe.calc = trainer.calculator(plain.folder)
        true.append(probe.get_forces() - labelled("x", atoms).label.forces)
    rms = float(np.sqrt(np.mean(np.square(true))))
    assert 0.3 * rms < float(np.mean(found[:4])) < 3.0 * rms
    (plain.folder.parent / "old").mkdir()
    with pytest.raises(InputError, match="how wrong"):
        trainer.force_errors(plain.folder.parent / "old", calm)


def test_resampled_fits_scatter_about_the_fit_of_all(plain: Trained) -> None:
    trainer = LinearAce()
    atoms = copper(70).atoms

    def energy(calculator: object) -> float:
        probe = atoms.copy()
        probe.calc = calculator
        return float(probe.get_potential_energy())

    every = energy(trainer.calculator(plain.folder))
    energies = [energy(one) for one in trainer.ensemble(plain.folder)]
    assert len(energies) == 8 and np.std(energies) > 0
    assert np.abs(np.array(energies) - every).max() < 0.2


def test_rows_are_energy_forces_and_stress_of_the_potential(plain: Trained) -> None:
    """Signs, units and the order of the shears, by python-ace's own evaluation."""
    from pyace import ACEBBasisSet

    basis = LinearBasis(ACEBBasisSet(str(plain.folder / "potential.yaml")))
    coefficients = Posterior.load(plain.folder / "posterior.npz").coefficients
    atoms = copper(91).atoms
    atoms.set_cell(atoms.cell.array @ [[1, 0.05, 0.03], [0, 1, 0.07], [0, 0, 1]], scale_atoms=True)
    atoms.calc = LinearAce().calculator(plain.folder)
    energy, forces = basis.gradients(atoms)
    reference = plain.metrics["reference_energy_ev"]["Cu"] * len(atoms)
    assert energy @ coefficients + reference == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(forces @ coefficients, atoms.get_forces(), atol=1e-6)
    stress = basis.stress(atoms) @ coefficients / atoms.get_volume()
    found = atoms.get_stress()
    assert np.abs(found[3:]).min() > 1e-3  # each shear is another, and none is nought
    np.testing.assert_allclose(stress, found, atol=2e-5)


def test_stress_is_learned(plain: Trained) -> None:
    wrong, size = [], []
    for seed in range(80, 84):
        item = copper(seed)
        atoms = item.atoms.copy()
        atoms.calc = LinearAce().calculator(plain.folder)
        assert item.label.stress is not None
        wrong.append(atoms.get_stress() - item.label.stress)
        size.append(item.label.stress)
    assert np.sqrt(np.mean(np.square(wrong))) < 0.15 * np.sqrt(np.mean(np.square(size)))


def test_a_label_that_cannot_be_used_is_set_aside_by_name(tmp_path: Path) -> None:
    items = [copper(seed) for seed in range(10)]
    broken = replace(items[0], name="broken", label=replace(items[0].label, energy_ev=float("nan")))
    mixed = items[1].atoms.copy()
    mixed.symbols[0] = "Au"  # not an element of the fit
    foreign = replace(items[1], name="foreign", atoms=mixed)
    assert refusal(broken) == "the energy is not finite"
    trained = fitted(job([*items[2:], broken, foreign]), tmp_path)
    assert set(trained.metrics["set_aside"]) == {"broken", "foreign"}
    assert trained.metrics["train"]["n_structures"] == 8


def test_a_left_handed_cell_is_learned_like_any_other(tmp_path: Path) -> None:
    items = [copper(seed) for seed in range(10)]
    left = items[0].atoms.copy()
    left.set_cell(left.cell.array[[1, 0, 2]])
    trained = fitted(job([*items[1:], replace(items[0], atoms=left)]), tmp_path)
    assert trained.metrics["set_aside"] == {}
    energies = []
    for atoms in (left.copy(), items[0].atoms.copy()):
        atoms.calc = LinearAce().calculator(trained.folder)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=1e-6)


def test_what_pacemaker_would_end_with_is_set_aside_by_name() -> None:
    mixed = copper(1)
    mixed.atoms.pbc = (True, True, False)
    foreign = copper(2)
    foreign.atoms.symbols[0] = "Au"  # not an element of the fit
    settings = settings_of(job([copper(0)]), "linear")
    found = refusals(settings, [copper(0), mixed, foreign])
    assert found["s1"] == "ValueError: Only fully periodic or non-periodic cell are supported"
    assert set(found) == {"s1", "s2"}


def test_masked_forces_do_not_matter(tmp_path: Path) -> None:
    items = [copper(seed) for seed in range(10)]
    spoiled = []
    for number, item in enumerate(items[:3]):
        forces = item.label.forces.copy()
        forces[2:] += 50.0
        label = replace(item.label, forces=forces, stress=None)
        spoiled.append(replace(item, name=f"cut{number}", label=label, core=(0, 1)))
    trained = fitted(job([*items[3:], *spoiled]), tmp_path)
    assert trained.metrics["train"]["force_rmse_mev_per_a"] < 100.0


def test_a_free_atom_costs_what_its_label_says(tmp_path: Path) -> None:
    items = [copper(seed) for seed in range(10)]
    shift = -1000.0
    moved = [
        replace(
            item,
            label=replace(item.label, energy_ev=item.label.energy_ev + shift * len(item.atoms)),
        )
        for item in items
    ]
    free = Atoms("Cu", cell=[12.0] * 3, pbc=True)
    label = Label(shift + 3.5, np.zeros((1, 3)), None, "emt", 1, 0.0)
    item = LabelledStructure("free", free, label, Provenance("isolated_atom", "free"))
    trained = fitted(job([*moved, item]), tmp_path)
    probe = free.copy()
    probe.calc = LinearAce().calculator(trained.folder)
    assert probe.get_potential_energy() == pytest.approx(shift + 3.5, abs=1e-6)
    assert trained.metrics["train"]["energy_rmse_mev_per_atom"] < 10.0


def test_md_and_ase_grade_by_the_same_guard(plain: Trained) -> None:
    """A free cluster: every atom is its own origin, and all others within the cutoff neighbours."""
    atoms = copper(90, spread=0.3).atoms
    atoms.pbc = False
    atoms.calc = LinearAce().calculator(plain.folder)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    evaluator = AceEvaluator(plain.folder, ["Cu"])
    distances = atoms.get_all_distances()
    near = (distances < evaluator.cutoff_a) & (distances > 0)
    neighbours = [np.flatnonzero(row).tolist() for row in near]
    evaluator.set_neighbours(np.zeros(len(atoms), dtype=int), list(range(len(atoms))), neighbours)
    found = evaluator.compute(atoms.positions, graded=True)
    references = plain.metrics["reference_energy_ev"]["Cu"] * len(atoms)
    assert found.energy_ev + references == pytest.approx(energy, abs=1e-6)
    np.testing.assert_allclose(found.forces, forces, atol=1e-6)
    assert found.gamma is not None
    np.testing.assert_allclose(found.gamma, atoms.calc.results["gamma"], rtol=1e-8)
    assert found.gamma.max() > 1.1  # no atom of the labels has so few neighbours
    assert evaluator.compute(atoms.positions, graded=False).gamma is None
    assert plain.metrics["guard_functions"]["Cu"] == 16 * 4 // 3
