"""A molecule at rest: frequencies of springs that are known, geometries whichever way they are
turned, boxes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule as g2_molecule
from ase.calculators.calculator import Calculator, all_changes
from scipy.spatial.transform import Rotation

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_to_json
from mlip_autopipec.base.tasks import Outcome, Task, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.engines.dft.quantum_espresso.inputs import write_input
from mlip_autopipec.science import lattices
from mlip_autopipec.science import molecule_at_rest as molecule
from mlip_autopipec.science.generation.context import BOX_MARGIN_A, in_a_box
from mlip_autopipec.science.generation.normal_modes import normal_modes
from mlip_autopipec.science.properties.stored import molecule_of_summary
from mlip_autopipec.science.whole_molecule import put_together
from mlip_autopipec.tasks import validate
from mlip_autopipec.testing import simulated_plan

WATER = g2_molecule("H2O")


class Springs(Calculator):  # type: ignore[misc]
    """A spring of ``stiffness`` (eV/Å²) between every two atoms, at rest where ``rest`` has
    them.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, rest: Atoms, stiffness: float) -> None:
        super().__init__()
        self.lengths, self.stiffness = rest.get_all_distances(), stiffness

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        arms = self.atoms.positions[:, None] - self.atoms.positions[None]
        now = np.linalg.norm(arms, axis=2) + np.eye(len(self.atoms))
        pull = np.where(np.eye(len(now)) > 0, 0.0, now - self.lengths)
        forces = -self.stiffness * ((pull / now)[:, :, None] * arms).sum(axis=1)
        self.results = {"energy": 0.25 * self.stiffness * float((pull**2).sum()), "forces": forces}


def forces_of(atoms: Atoms, calculator: Calculator) -> np.ndarray[Any, Any]:
    copy = atoms.copy()
    copy.calc = calculator
    return np.asarray(copy.get_forces())


def probes_of(
    atoms: Atoms, modes: Any, chosen: list[int], calculator: Calculator
) -> list[molecule.Probe]:
    found = []
    for mode in chosen:
        plus, minus, coordinate = molecule.displaced(atoms, modes, mode)
        sides = (forces_of(plus, calculator), forces_of(minus, calculator))
        found.append(molecule.Probe(mode, coordinate, *sides))
    return found


def per_cm(stiffness_n_per_m: float, mass_amu: float) -> float:
    """Wavenumber of a harmonic oscillator, from SI units."""
    angular = np.sqrt(stiffness_n_per_m / (mass_amu * units._amu))
    return float(angular / (2 * np.pi * units._c) / 100)


def test_a_diatomic_has_the_frequency_of_its_spring() -> None:
    nitrogen = in_a_box(Atoms("N2", positions=[[0, 0, 0], [0.3, 0.4, 0.9]]))
    surrogate, dft = Springs(nitrogen, 100.0), Springs(nitrogen, 143.0)
    modes = normal_modes(nitrogen, surrogate)
    assert modes.wavenumbers_per_cm == pytest.approx(
        [per_cm(100 * 16.0217663, 14.007 / 2)], rel=1e-3
    )
    found = molecule.wavenumbers_per_cm(nitrogen, modes, probes_of(nitrogen, modes, [0], dft))
    assert found == pytest.approx([per_cm(143 * 16.0217663, 14.007 / 2)], rel=1e-3)
    pushed = molecule.wavenumbers_per_cm(
        nitrogen, modes, probes_of(nitrogen, modes, [0], Springs(nitrogen, -10.0))
    )
    assert pushed[0] < 0  # no minimum: told, not hidden


def test_all_modes_of_another_calculator_give_its_own_frequencies() -> None:
    """Springs of other lengths have other modes, yet the whole space of vibrations gives them
    exactly.
    """
    water = in_a_box(WATER)
    bent = WATER.copy()
    bent.positions[0] += [0.0, 0.0, 0.15]
    modes = normal_modes(in_a_box(bent), Springs(bent, 30.0))
    modes = type(modes)(modes.omega, normal_modes(water, Springs(water, 30.0)).vectors, 0)
    dft = Springs(water, 41.0)
    found = molecule.wavenumbers_per_cm(water, modes, probes_of(water, modes, [0, 1, 2], dft))
    assert found == pytest.approx(normal_modes(water, dft).wavenumbers_per_cm, rel=5e-3)


def test_the_modes_compared_span_soft_to_stiff() -> None:
    ethane = in_a_box(g2_molecule("C2H6"))
    modes = normal_modes(ethane, Springs(ethane, 20.0))
    last = len(modes.omega) - 1
    assert molecule.compared_modes(modes, 3) == [0, round(last / 2), last]
    assert molecule.compared_modes(modes, 1) == [last]
    assert molecule.compared_modes(modes, 99) == list(range(last + 1))
    for mode in (0, last):
        plus, minus, coordinate = molecule.displaced(ethane, modes, mode)
        moved = np.linalg.norm(plus.positions - ethane.positions, axis=1).max()
        assert moved <= molecule.MOST_MOVED_A + 1e-9 and coordinate > 0
        assert (plus.positions + minus.positions) / 2 == pytest.approx(ethane.positions)
        assert 0.5 * (coordinate * modes.omega[mode]) ** 2 <= molecule.PROBE_ENERGY_EV * (1 + 1e-9)
    again = molecule.modes_from_json(molecule.modes_to_json(modes))
    assert again.omega == pytest.approx(modes.omega, rel=1e-5)
    assert again.vectors == pytest.approx(modes.vectors, abs=1e-6)


def test_one_newton_step_leads_to_the_minimum_of_dft() -> None:
    water = in_a_box(WATER)
    longer = water.copy()
    longer.positions *= 1.02  # bonds 2 % longer by DFT
    dft, modes = Springs(longer, 33.0), normal_modes(water, Springs(water, 30.0))
    before = forces_of(water, dft)
    moved = molecule.at_minimum(water, before, modes)
    after = forces_of(moved, dft)
    assert np.abs(after).max() < 0.15 * np.abs(before).max()
    assert molecule.geometry_rmsd_a(moved, longer) < 0.15 * molecule.geometry_rmsd_a(water, longer)
    assert moved.cell == pytest.approx(water.cell) and not moved.pbc.any()
    far = molecule.newton_step_a(water, 1000 * before, modes)
    assert np.linalg.norm(far, axis=1).max() == pytest.approx(molecule.LONGEST_STEP_A)


def test_geometries_are_compared_whichever_way_they_are_turned() -> None:
    one = g2_molecule("CH3CH2OH")
    other = one.copy()
    other.positions = Rotation.from_euler("xyz", [40, 50, 60], degrees=True).apply(other.positions)
    other.translate([3.0, -2.0, 1.0])
    assert molecule.geometry_rmsd_a(one, other) == pytest.approx(0.0, abs=1e-6)
    other.positions[3] += [0.0, 0.3, 0.0]
    assert (
        0.05 < molecule.geometry_rmsd_a(one, other) <= 0.1 + 1e-9
    )  # 0.3 Å of one in nine atoms, partly turned away
    chiral = Atoms(
        "CHFClBr",
        positions=[[0, 0, 0], [0, 0, 1.1], [1.3, 0, -0.4], [-0.8, 1.5, -0.6], [-0.9, -1.6, -0.6]],
    )
    mirrored = chiral.copy()
    mirrored.positions[:, 0] *= -1
    assert (
        molecule.geometry_rmsd_a(chiral, mirrored) > 0.3
    )  # no rotation makes a left hand a right one


def test_bonds_and_angles_of_water() -> None:
    pairs = molecule.bonds(WATER)
    assert pairs == [(0, 1), (0, 2)]
    assert molecule.angles_deg(WATER, pairs) == pytest.approx([WATER.get_angle(1, 0, 2)])


# --- boxes
# --------------------------------------------------------------------------------------------------


def test_a_box_fits_the_molecule_however_it_was_turned() -> None:
    chain = g2_molecule("trans-butane")
    straight = in_a_box(chain)
    turn = Rotation.from_euler("xyz", [25, 70, 130], degrees=True)
    turned = in_a_box(Atoms(chain.symbols, positions=turn.apply(chain.positions)))
    assert turned.get_volume() == pytest.approx(straight.get_volume(), rel=1e-6)
    loose = Atoms(chain.symbols, positions=turn.apply(chain.positions))
    loose.center(vacuum=BOX_MARGIN_A)
    assert turned.get_volume() < 0.9 * loose.get_volume()
    for boxed in (straight, turned):
        assert not boxed.pbc.any()
        assert boxed.get_all_distances() == pytest.approx(chain.get_all_distances())
        assert boxed.positions.min(axis=0) == pytest.approx([BOX_MARGIN_A] * 3)
        assert (boxed.cell.lengths() - boxed.positions.max(axis=0)) == pytest.approx(
            [BOX_MARGIN_A] * 3
        )
    left = Atoms(
        "CHFClBr",
        positions=[[0, 0, 0], [0, 0, 1.1], [1.3, 0, -0.4], [-0.8, 1.5, -0.6], [-0.9, -1.6, -0.6]],
    )
    assert molecule.geometry_rmsd_a(left, in_a_box(left)) == pytest.approx(0.0, abs=1e-6)


def test_a_molecule_has_room_to_turn_in_its_md_box() -> None:
    chain = g2_molecule("trans-butane")
    cell = lattices.md_cell(chain, 14)
    assert len(cell) == len(chain) and cell.pbc.all()
    longest = chain.get_all_distances().max()
    assert cell.cell.lengths() == pytest.approx([longest + 2 * lattices.VACUUM_A] * 3)


def test_a_molecule_cut_by_the_faces_of_its_box_is_put_together() -> None:
    ethanol = g2_molecule("CH3CH2OH")
    cell = lattices.md_cell(ethanol, 9)
    cell.positions += [0.5, 0.45, 0.52] * cell.cell.lengths()
    cell.wrap()
    assert np.ptp(cell.positions, axis=0).max() > 10.0
    whole = put_together(cell)
    assert whole is not None
    assert whole.get_all_distances() == pytest.approx(ethanol.get_all_distances(), abs=1e-9)
    cell.positions[4] += [5.0, 5.0, 5.0]  # a hydrogen atom that left
    assert put_together(cell) is None


def test_the_correction_for_images_is_for_what_has_none() -> None:
    method: Json = {
        **derive_dft([in_a_box(WATER)]).dft.label_method(),
        "isolated": "martyna_tuckerman",
    }
    valence = {"H": 1.0, "O": 6.0}
    water = in_a_box(WATER)
    text = write_input(LabelJob(water, method), z_valence=valence, max_seconds=60)
    assert "assume_isolated = 'mt'" in text and "K_POINTS gamma" in text
    periodic = water.copy()
    periodic.pbc = True
    assert "assume_isolated" not in write_input(
        LabelJob(periodic, method), z_valence=valence, max_seconds=60
    )
    del method["isolated"]
    assert "assume_isolated" not in write_input(
        LabelJob(water, method), z_valence=valence, max_seconds=60
    )


# --- the task that compares
# -------------------------------------------------------------------------------------------


class SpringTrainer:
    """A potential whose springs are those that its folder's name says: length and stiffness in
    percent of DFT's.
    """

    def calculator(self, potential: Path) -> Calculator:
        length, stiffness = (int(part) / 100 for part in potential.name.split("-"))
        rest = in_a_box(WATER)
        rest.positions *= length
        return Springs(rest, 40.0 * stiffness)


def compared(root: Path, potential: str, *, vibrations: bool = True) -> Json:
    """The validation of a potential against labels that springs of 40 eV/Å² made; the surrogate's
    are 30 eV/Å².
    """
    water = in_a_box(WATER)
    dft, modes = Springs(water, 40.0), normal_modes(water, Springs(water, 30.0))
    candidates = [
        Candidate(water, Provenance("molecule_at_rest", "validation", {"minimum_of": "dft"}))
    ]
    for mode in range(3) if vibrations else ():
        plus, minus, coordinate = molecule.displaced(water, modes, mode)
        for sign, atoms in ((1, plus), (-1, minus)):
            parameters = {"mode": mode, "sign": sign, "coordinate_a_amu12": coordinate}
            candidates.append(Candidate(atoms, Provenance("vibration", "validation", parameters)))
    inputs = {"generate-1": "tasks/generate-1"}
    write_json(
        root / inputs["generate-1"] / "outcome.json",
        {
            "result": {
                "ground_state": atoms_to_json(water),
                "prepared": {"molecule": molecule.modes_to_json(modes)},
            }
        },
    )
    for number, candidate in enumerate(candidates):
        name = f"label-{number}"
        inputs[name] = f"tasks/{name}"
        label = Label(0.0, forces_of(candidate.atoms, dft), None, "hash", 5, 1.0)
        write_json(
            root / inputs[name] / "spec.json",
            {
                "payload": {
                    "candidate": candidate.to_json(),
                    "job": LabelJob(candidate.atoms, {}).to_json(),
                    "purpose": "validate",
                }
            },
        )
        write_json(root / inputs[name] / "outcome.json", Outcome(label.to_json()).to_json())
    payload = {
        "potential": f"potentials/{potential}", "source": "generate-1",
        "labels": {"molecule": [name for name in inputs if name.startswith("label")]},
    }  # fmt: skip
    plan = simulated_plan(validation={"modes": 3})
    training = plan.training.model_copy(update={"trainer": f"{__name__}:SpringTrainer"})
    spec = TaskSpec(Task("validate", payload), 1, str(root), payload, inputs)
    folder = root / "tasks" / f"validate-{potential}"
    folder.mkdir(parents=True)
    outcome = validate.run(spec, plan.model_copy(update={"training": training}), folder)
    found = molecule_of_summary(outcome.result)
    assert found is not None
    return found


def test_a_potential_that_is_dft_has_no_error(tmp_path: Path) -> None:
    found = compared(tmp_path, "100-100")
    assert found["geometry_rmsd_a"] < 1e-3
    assert found["frequency_rmse_per_cm"] < 0.01
    assert found["force_rmse_at_rest_mev_per_a"] < 1e-2
    exact = normal_modes(in_a_box(WATER), Springs(WATER, 40.0)).wavenumbers_per_cm
    assert found["frequencies_per_cm"]["dft"] == pytest.approx(exact, rel=5e-3)


def test_longer_bonds_and_softer_springs_are_measured(tmp_path: Path) -> None:
    longer = compared(tmp_path / "a", "103-100")
    (row,) = longer["bonds_a"]
    assert (row["bond"], row["count"]) == ("H-O", 2)
    assert row["potential"] == pytest.approx(1.03 * row["dft"], rel=1e-3)
    assert longer["geometry_rmsd_a"] == pytest.approx(0.03 * molecule_radius(), rel=0.02)
    assert longer["largest_angle_error_deg"] < 0.1
    softer = compared(tmp_path / "b", "100-81")
    found = softer["frequencies_per_cm"]
    assert np.array(found["potential"]) / np.array(found["dft"]) == pytest.approx(
        [0.9] * 3, rel=1e-3
    )
    assert softer["frequency_rmse_per_cm"] == pytest.approx(
        0.1 * np.sqrt(np.mean(np.square(found["dft"]))), rel=0.01
    )


def molecule_radius() -> float:
    arms = WATER.positions - WATER.positions.mean(axis=0)
    return float(np.sqrt((arms**2).sum(axis=1).mean()))


def test_without_vibrations_the_geometry_is_still_compared(tmp_path: Path) -> None:
    found = compared(tmp_path, "102-100", vibrations=False)
    assert found["geometry_rmsd_a"] > 0.01 and found["frequency_rmse_per_cm"] is None


def test_a_potential_without_a_minimum_says_so(tmp_path: Path) -> None:
    found = compared(tmp_path, "300-100")
    assert found["geometry_rmsd_a"] is None
    assert "leaves its shape" in found["failure"]
