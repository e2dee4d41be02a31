"""How surrogate and DFT compare, on numbers that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.calculators.emt import EMT

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.science.hit_rate import Judged, Prediction, element_offsets, hit_rate, predict
from mlip_autopipec.science.screening import Limits, audit_sample, screen

LIMITS = Limits(max_force_ev_per_a=10.0, max_energy_above_lowest_ev_per_atom=1.0)
OFFSETS = {"Cu": -101.3, "Au": 37.9}


def _alloy(n_gold: int, seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.symbols[:n_gold] = "Au"
    atoms.set_cell(atoms.cell * 1.05, scale_atoms=True)
    atoms.rattle(0.08, seed=seed)
    return atoms


def _label(energy_ev: float, forces: np.ndarray) -> Label:
    return Label(energy_ev, forces, None, "pbe", 10, 1.0)


def _judged(
    atoms: Atoms, *, energy_error_ev: float = 0.0, force_factor: float = 1.0, rejected: bool = False
) -> Judged:
    """DFT is EMT with other atomic references; the surrogate's forces are ``force_factor`` of
    DFT's.
    """
    probe = atoms.copy()
    probe.calc = EMT()
    energy, forces = probe.get_potential_energy(), probe.get_forces()
    shift = sum(OFFSETS[symbol] for symbol in atoms.symbols)
    return Judged(
        atoms,
        _label(energy + shift, forces),
        Prediction(energy + energy_error_ev, force_factor * forces),
        rejected,
    )


def _set(**changes: float) -> list[Judged]:
    return [_judged(_alloy(n, seed), **changes) for seed, n in enumerate([0, 2, 4, 8, 1, 5])]


def test_element_offsets_are_found_and_taken_out() -> None:
    judged = _set()
    structures = [item.atoms for item in judged]
    differences = [item.label.energy_ev - item.prediction.energy_ev for item in judged]  # type: ignore[union-attr]
    offsets, rank = element_offsets(structures, differences)
    assert rank == 2 and offsets == pytest.approx(OFFSETS)
    report = hit_rate(judged, LIMITS)
    assert report.energy_rmse_mev_per_atom == pytest.approx(0, abs=1e-6)
    assert report.force_rmse_mev_per_a == pytest.approx(0, abs=1e-6)
    assert report.force_correlation == pytest.approx(1)


def test_compositions_that_cannot_tell_elements_apart_still_leave_no_error() -> None:
    judged = [_judged(_alloy(4, seed)) for seed in range(3)]
    offsets, rank = element_offsets([i.atoms for i in judged], [i.label.energy_ev for i in judged])  # type: ignore[union-attr]
    assert rank == 1 and offsets["Au"] == pytest.approx(offsets["Cu"])
    assert hit_rate(judged, LIMITS).energy_rmse_mev_per_atom == pytest.approx(0, abs=1e-6)


def test_errors_that_no_offset_explains_are_reported_per_atom() -> None:
    """+80 and -80 meV in turn on cells of 8 atoms of one composition: 10 meV/atom."""
    judged = [_judged(_alloy(4, seed), energy_error_ev=0.08 * (-1) ** seed) for seed in range(6)]
    assert hit_rate(judged, LIMITS).energy_rmse_mev_per_atom == pytest.approx(10)


def test_as_many_offsets_as_labels_leave_nothing_to_judge_energies_by() -> None:
    report = hit_rate([_judged(_alloy(0, 0)), _judged(_alloy(8, 1))], LIMITS)
    assert report.energy_rmse_mev_per_atom is None


def test_soft_forces_are_an_error_but_still_rank() -> None:
    judged = _set(force_factor=0.8)
    report = hit_rate(judged, LIMITS)
    everything = np.concatenate([np.ravel(item.label.forces) for item in judged])  # type: ignore[union-attr]
    assert report.force_rmse_mev_per_a == pytest.approx(200 * np.sqrt(np.mean(everything**2)))
    assert report.force_correlation == pytest.approx(1) and not report.geometry_only


def test_forces_that_point_the_other_way_make_the_screen_fall_back_and_say_so() -> None:
    report = hit_rate(_set(force_factor=-1.0), LIMITS)
    assert report.force_correlation == pytest.approx(-1)
    assert (
        report.geometry_only
        and "-1.00 < 0.7" in report.reason
        and "geometry alone" in report.reason
    )
    rng = np.random.default_rng(0)
    for noise, falls_back in [
        (0.5, False),
        (2.0, True),
    ]:  # correlation 1/sqrt(1 + noise²): 0.89 and 0.45
        noisy = [
            Judged(
                i.atoms, i.label, Prediction(0.0, f + noise * f.std() * rng.normal(size=f.shape))
            )
            for i in _set()
            for f in [i.label.forces]  # type: ignore[union-attr]
        ]
        assert hit_rate(noisy, LIMITS).geometry_only is falls_back


def test_symmetric_cells_say_nothing_about_forces() -> None:
    perfect = [bulk("Cu", cubic=True, a=a) * (3, 1, 1) for a in (3.5, 3.6, 3.7)]
    report = hit_rate([_judged(atoms, force_factor=-1.0) for atoms in perfect], LIMITS)
    assert report.force_correlation is None and not report.geometry_only
    assert "too few" in report.reason


def test_hits_and_false_rejections_are_counted_by_dft_numbers() -> None:
    good, hot, high = _judged(_alloy(4, 0)), _judged(_alloy(4, 1)), _judged(_alloy(4, 2))
    assert isinstance(hot.label, Label) and isinstance(high.label, Label)
    hot = Judged(hot.atoms, _label(hot.label.energy_ev, 1e3 * hot.label.forces), hot.prediction)
    high = Judged(
        high.atoms, _label(high.label.energy_ev + 9.0, high.label.forces), high.prediction
    )
    failed = Judged(_alloy(4, 3), Failure("scf_not_converged", "x"), good.prediction)
    report = hit_rate([good, hot, high, failed], LIMITS)
    assert (report.n_accepted, report.n_hits, report.n_audited, report.n_false_rejections) == (
        4,
        1,
        0,
        0,
    )

    audited = [
        Judged(i.atoms, i.label, i.prediction, rejected=True)
        for i in (_judged(_alloy(4, 5)), hot, high, failed)
    ]
    report = hit_rate([good, *audited], LIMITS)
    assert (report.n_accepted, report.n_hits, report.n_audited, report.n_false_rejections) == (
        1,
        1,
        4,
        1,
    )
    assert report.to_json()["n_false_rejections"] == 1


def test_rejected_structures_do_not_count_among_the_errors() -> None:
    wild = _judged(_alloy(4, 9), energy_error_ev=50.0, force_factor=-5.0, rejected=True)
    assert hit_rate([*_set(), wild], LIMITS).force_correlation == pytest.approx(1)


def test_an_empty_set_has_a_report() -> None:
    report = hit_rate([], LIMITS)
    assert (report.n_accepted, report.energy_rmse_mev_per_atom, report.geometry_only) == (
        0,
        None,
        False,
    )


def test_predictions_are_none_where_the_surrogate_fails() -> None:
    class Refuses(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, *args: object, **kwargs: object) -> None:
            raise CalculationFailed("no neighbour")

    atoms = _alloy(4, 0)
    assert predict([atoms], Refuses()) == [None]
    (found,) = predict([atoms], EMT())
    assert found is not None and found.forces.shape == (8, 3) and atoms.calc is None


def test_an_audit_draws_what_the_surrogate_rejected_and_nothing_else() -> None:
    def moved(dx: float) -> Candidate:
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.positions[0, 0] += dx
        return Candidate(atoms, Provenance("test", f"{dx}"))

    candidates = [moved(dx) for dx in (0.0, 1.6, 0.6, 0.65, 0.7, 0.75)]
    screened = screen(candidates, EMT(), Limits(max_force_ev_per_a=3.0))
    assert screened.reasons() == {"large_force": 4, "too_close": 1}
    drawn = audit_sample(screened, 2, np.random.default_rng(1))
    assert len(drawn) == 2 and {verdict.kind for verdict in drawn} == {"large_force"}
    assert drawn == audit_sample(screened, 2, np.random.default_rng(1))
    assert len(audit_sample(screened, 99, np.random.default_rng(1))) == 4
