"""Reference energies, weights, masks and inputs of a fit, and its linear algebra."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines.ports import TrainJob
from mlip_autopipec.engines.train.pacemaker.data import (
    fit_rows,
    fittable_functions,
    guard_functions,
    reference_energies,
)
from mlip_autopipec.engines.train.pacemaker.inputs import (
    job_text,
    pacemaker_input,
    read_job,
    settings_of,
)
from mlip_autopipec.engines.train.pacemaker.potential import core_radii
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings, PacemakerSettings
from mlip_autopipec.science.predictions import Predicted, errors


def structure(
    symbols: str,
    energy: float,
    *,
    core: tuple[int, ...] | None = None,
    reference: float | None = None,
    spacing: float = 2.4,
) -> LabelledStructure:
    atoms = Atoms(symbols, pbc=True)
    atoms.positions[:, 0] = spacing * np.arange(len(atoms))
    atoms.set_cell([spacing * len(atoms), 9.0, 9.0])
    label = Label(
        energy, np.zeros((len(atoms), 3)), None, "m", 1, 0.0, energy_reference_ev=reference
    )
    return LabelledStructure(f"{symbols}{energy}", atoms, label, Provenance("t", "g"), core)


def test_isolated_atom_energies_of_the_labels_come_first() -> None:
    items = [structure("SiC", -20.0, reference=-13.0), structure("SiC3", -50.0, reference=-31.0)]
    found = reference_energies(items, ["C", "Si"], 5.0)
    assert found == pytest.approx({"C": -9.0, "Si": -4.0})


def test_a_labelled_free_atom_is_the_reference() -> None:
    free = structure("Si", -100.0, spacing=9.0)
    bulk = structure("Si4", -4 * 105.0)
    assert reference_energies([bulk, free], ["Si"], 5.0) == pytest.approx({"Si": -100.0})
    # one atom per cell but with neighbours: a crystal, not a free atom
    crystal = structure("Si", -105.0, spacing=2.5)
    assert reference_energies([crystal], ["Si"], 5.0) == pytest.approx({"Si": -105.0})


def test_an_element_without_a_free_atom_takes_what_the_others_leave() -> None:
    free = structure("Si", -100.0, spacing=9.0)
    items = [structure("SiC", -160.0), structure("Si3C", -360.0), free]
    found = reference_energies(items, ["C", "Si"], 5.0)
    assert found == pytest.approx({"C": -60.0, "Si": -100.0})


def test_least_squares_references_leave_cutouts_out() -> None:
    items = [structure("SiC", -14.0), structure("Si3C", -22.0), structure("SiC3", -34.0, core=(0,))]
    found = reference_energies([*items[:2]], ["C", "Si"], 5.0)
    assert found == pytest.approx({"C": -10.0, "Si": -4.0})
    assert reference_energies(items, ["C", "Si"], 5.0) == pytest.approx(found)


def test_weights_are_normalised_masked_and_lower_for_high_energies() -> None:
    low, high = structure("Si2", -10.0), structure("Si2", -9.4)  # 0.3 eV/atom above
    masked = structure("Si4", -20.0, core=(1, 2))
    rows = fit_rows([low, high, masked], {"Si": -4.0}, 0.0)
    assert rows.energies_ev == pytest.approx([-2.0, -1.4, -4.0])
    assert rows.energy_weights.sum() == pytest.approx(1.0)
    assert rows.energy_weights[0] == pytest.approx(2 * rows.energy_weights[1])
    assert rows.energy_weights[2] == 0.0
    assert sum(weights.sum() for weights in rows.force_weights) == pytest.approx(1.0)
    np.testing.assert_array_equal(rows.force_weights[2] > 0, [False, True, True, False])
    assert fit_rows([low, masked], {"Si": -4.0}, 0.5).energy_weights == pytest.approx(
        [2 / 3, 1 / 3]
    )


def test_a_set_of_masked_cells_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="whole cell"):
        fit_rows([structure("Si4", -20.0, core=(1,))], {"Si": -4.0}, 0.0)


def test_the_basis_is_no_larger_than_the_learned_atoms_carry() -> None:
    items = [structure("Si30", -1.0), structure("Si30", -2.0, core=tuple(range(15)))]
    assert fittable_functions(items, ["Si"], 500) == {"Si": 30}
    assert fittable_functions(items, ["Si"], 20) == {"Si": 20}
    assert fittable_functions([structure("Si20C6", -1.0)], ["C", "Si"], 500) == {"C": 4, "Si": 13}


def test_the_guard_has_three_environments_for_each_function_and_stays_small() -> None:
    items = [structure("Si30", -1.0), structure("Si30", -2.0, core=tuple(range(15)))]
    assert guard_functions(items, ["Si"], 500) == {"Si": 15}
    assert guard_functions(items, ["Si"], 10) == {"Si": 10}
    assert guard_functions([structure("Si900", -1.0)], ["Si"], 500) == {"Si": 60}
    assert guard_functions([structure("Si20C6", -1.0)], ["C", "Si"], 500) == {"C": 4, "Si": 6}


def test_the_core_lies_below_every_learned_bond() -> None:
    far, near = structure("Si4", -1.0), structure("Si4", -1.0, spacing=1.3)
    assert core_radii([far], ["Si"])[0, 0] == pytest.approx(0.75 * 2 * 1.11)
    assert core_radii([far, near], ["Si"])[0, 0] == pytest.approx(1.3)
    squeezed = structure("Si4", -1.0, core=(0,))
    squeezed.atoms.positions[2, 0] = (
        squeezed.atoms.positions[3, 0] - 1.0
    )  # a seam between two buffer atoms
    assert core_radii([squeezed], ["Si"])[0, 0] == pytest.approx(0.75 * 2 * 1.11)


def job(tmp: Path | None = None, **changes: object) -> TrainJob:
    items = tuple(structure("Si8", -40.0 - i) for i in range(4))
    values = {
        "cutoff_a": 5.0,
        "functions_per_element": 12,
        "max_iterations": 70,
        "warm_iterations": 30,
        "kappa": 0.1,
    }
    settings = PacemakerSettings.model_validate({**values, **changes})
    return TrainJob(("Si",), items[:3], items[3:], settings, seed=5, warm_start=tmp)


def linear_job(tmp: Path | None = None) -> TrainJob:
    asked = job(tmp)
    kept = asked.settings.model_dump(include=set(LinearSettings.model_fields))
    return replace(asked, settings=LinearSettings.model_validate(kept))


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    asked = job()
    settings = settings_of(asked, "pacemaker")
    (tmp_path / "job.json").write_text(job_text(asked, settings))
    read, train, test = read_job(tmp_path / "job.json")
    assert read == settings
    assert [item.name for item in train] == [item.name for item in asked.train]
    assert test[0].label.energy_ev == asked.test[0].label.energy_ev


def test_a_warm_start_needs_the_same_basis(tmp_path: Path) -> None:
    basis = settings_of(job(), "pacemaker").basis
    (tmp_path / "metrics.json").write_text(json.dumps({"basis": basis}))
    assert settings_of(job(tmp_path), "pacemaker").warm_start == str(tmp_path)
    assert settings_of(job(tmp_path, cutoff_a=5.5), "pacemaker").warm_start is None
    assert settings_of(job(tmp_path, functions_per_element=11), "pacemaker").warm_start is None
    assert settings_of(linear_job(tmp_path), "linear").warm_start is None
    assert settings_of(job(tmp_path / "nothing"), "pacemaker").warm_start is None


def test_only_a_fit_that_has_a_start_takes_the_steps_of_a_warm_one(tmp_path: Path) -> None:
    basis = settings_of(job(), "pacemaker").basis
    (tmp_path / "metrics.json").write_text(json.dumps({"basis": basis}))
    assert settings_of(job(tmp_path), "pacemaker").max_iterations == 30
    assert settings_of(job(), "pacemaker").max_iterations == 70
    # More labels carried more functions: the basis is another one.
    assert settings_of(job(tmp_path, functions_per_element=11), "pacemaker").max_iterations == 70


def test_pacemaker_input_has_the_loss_and_the_start() -> None:
    settings = settings_of(job(), "pacemaker")
    warm = json.loads(pacemaker_input(settings, data="d.gz", start="old.yaml"))
    assert warm["potential"] == "old.yaml"
    assert "ladder_step" not in warm["fit"]
    assert warm["fit"]["maxiter"] == 70
    assert warm["fit"]["loss"]["kappa"] == 0.1
    assert warm["seed"] == 5
    cold = json.loads(pacemaker_input(settings, data="d.gz", start=None))
    assert cold["potential"]["embeddings"]["ALL"]["ndensity"] == 2
    assert cold["fit"]["ladder_step"] == 4


def test_errors_leave_masked_energies_out() -> None:
    row = Predicted(
        name="a",
        n_atoms=2,
        masked=False,
        energy_dft_ev_per_atom=-4.0,
        energy_potential_ev_per_atom=-4.003,
        forces_dft_ev_per_a=[0.0, 0.0],
        forces_potential_ev_per_a=[0.03, -0.04],
    )
    masked = replace(row, masked=True, energy_potential_ev_per_atom=9.0)
    result = errors([row, masked])
    assert result.energy_rmse_mev_per_atom == pytest.approx(3.0)
    assert result.force_rmse_mev_per_a == pytest.approx(1000 * np.sqrt(0.00125))
