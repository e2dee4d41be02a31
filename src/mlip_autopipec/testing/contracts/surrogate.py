"""Contract suite of the surrogates: physics against finite differences, and the batch against one
at a time.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import Surrogate
from mlip_autopipec.proposing.pool import SurrogatePool
from mlip_autopipec.science.screening import Evaluation, Limits, evaluate

__all__ = ["SurrogateContract", "meet"]

LONGEST_START_S = 300


@functools.cache
def _surrogate(engine: str, model: str | None) -> Surrogate:
    return registry.surrogate(engine, model)


def _loaded(engine: str, model: str | None) -> Calculator:
    return registry.surrogate(engine, model).calculator()


def meet(folder: str, processes: int) -> None:
    """Wait until this many processes have come here with the same empty folder.

    Raises TimeoutError after 300 s.
    """
    (Path(folder) / str(os.getpid())).touch()
    end = time.monotonic() + LONGEST_START_S
    while (came := len(list(Path(folder).iterdir()))) < processes:
        if time.monotonic() > end:
            raise TimeoutError(f"{came} of {processes} processes came")
        time.sleep(0.02)


def _evaluated_by_two(
    atoms: Atoms, calculator: Calculator, *, folder: str, limits: Limits
) -> Evaluation:
    meet(folder, 2)
    return evaluate(atoms, calculator, limits)


class SurrogateContract:
    """``engine`` and ``model`` as the registry takes them; ``unsupported``: an element that the
    model lacks.

    ``atoms``: a strained and rattled crystal of supported elements in a cell without symmetry,
    whose largest force exceeds 0.5 eV/Å. Tolerances, for models in single precision:
    ``energy_tolerance`` eV/atom, ``force_tolerance`` eV/Å, ``stress_tolerance_gpa``, the last two
    against finite differences.
    """

    engine: ClassVar[str]
    model: ClassVar[str | None] = None
    atoms: ClassVar[Atoms]
    unsupported: ClassVar[str]
    energy_tolerance: ClassVar[float] = 1e-4
    force_tolerance: ClassVar[float] = 0.02
    stress_tolerance_gpa: ClassVar[float] = 0.15

    @property
    def surrogate(self) -> Surrogate:
        return _surrogate(self.engine, self.model)

    def evaluated(self, atoms: Atoms) -> Atoms:
        """A copy with the calculator."""
        probe: Atoms = atoms.copy()
        probe.calc = self.surrogate.calculator()
        return probe

    def energy(self, atoms: Atoms) -> float:
        return float(self.evaluated(atoms).get_potential_energy())

    def test_has_the_methods_of_the_port_and_is_installed(self) -> None:
        assert isinstance(self.surrogate, Surrogate)
        self.surrogate.require()

    def test_names_what_it_supports(self) -> None:
        known = sorted(set(self.atoms.symbols))
        assert self.surrogate.supports(known)
        assert not self.surrogate.supports([*known, self.unsupported])

    def test_an_element_that_it_lacks_is_named(self) -> None:
        atoms = self.atoms.copy()
        atoms.symbols[0] = self.unsupported
        try:
            self.energy(atoms)
        except InputError as refused:
            assert self.unsupported in str(refused)
        else:
            raise AssertionError(f"{self.unsupported} was calculated")

    def test_forces_are_minus_the_gradient_of_the_energy(self) -> None:
        forces = self.evaluated(self.atoms).get_forces()
        assert np.abs(forces).max() > 0.5  # else the comparison says nothing
        step, last = 0.01, len(forces) - 1
        largest = np.unravel_index(np.abs(forces).argmax(), forces.shape)
        for atom, axis in [largest, (0, 0), (last // 2, 1), (last, 2)]:
            energies = []
            for sign in (1, -1):
                moved = self.atoms.copy()
                moved.positions[atom, axis] += sign * step
                energies.append(self.energy(moved))
            slope = (energies[0] - energies[1]) / (2 * step)
            assert abs(forces[atom, axis] + slope) < self.force_tolerance, (atom, axis)

    def test_forces_sum_to_nothing(self) -> None:
        assert (
            np.abs(self.evaluated(self.atoms).get_forces().sum(axis=0)).max()
            < 0.1 * self.force_tolerance
        )

    def test_stress_is_the_strain_derivative_of_the_energy_per_volume(self) -> None:
        """All six components: ASE's Voigt order, ASE's sign (tension is positive), eV/Å³."""
        stress = self.evaluated(self.atoms).get_stress()
        assert (
            np.ptp(stress) / units.GPa > 10 * self.stress_tolerance_gpa
        )  # else their order could not be told
        step = 0.004
        for voigt, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * step / 2
                strain[j, i] += sign * step / 2
                strained = self.atoms.copy()
                strained.set_cell(self.atoms.cell.array @ strain, scale_atoms=True)
                energies.append(self.energy(strained))
            slope = (energies[0] - energies[1]) / (2 * step) / self.atoms.get_volume()
            assert abs(stress[voigt] - slope) / units.GPa < self.stress_tolerance_gpa, voigt

    def test_forces_alone_equal_forces_with_stress(self) -> None:
        probe = self.evaluated(self.atoms)
        alone = probe.get_forces().copy()
        probe.calc.reset()
        probe.get_stress()
        assert np.abs(probe.get_forces() - alone).max() < 0.1 * self.force_tolerance

    def test_energy_does_not_depend_on_origin_order_or_choice_of_cell(self) -> None:
        probe, n = self.evaluated(self.atoms), len(self.atoms)
        energy, forces = float(probe.get_potential_energy()), probe.get_forces()
        moved = self.atoms.copy()
        moved.positions += (0.4, -1.3, 2.2)
        assert abs(self.energy(moved) - energy) < self.energy_tolerance * n
        order = np.random.default_rng(0).permutation(n)
        shuffled = self.evaluated(self.atoms[order])
        assert abs(float(shuffled.get_potential_energy()) - energy) < self.energy_tolerance * n
        assert np.abs(shuffled.get_forces() - forces[order]).max() < 0.1 * self.force_tolerance
        assert (
            abs(self.energy(self.atoms.repeat((2, 1, 1))) - 2 * energy)
            < 2 * self.energy_tolerance * n
        )

    def test_a_batch_on_two_processes_equals_one_after_the_other(self) -> None:
        structures = []
        for seed in range(5):
            structures.append(self.atoms.copy())
            structures[-1].rattle(0.02 * (seed + 1), seed=seed)
        structures[3] = structures[3].repeat((2, 1, 1))
        limits = Limits(max_force_ev_per_a=1e3)
        alone = [evaluate(atoms, self.surrogate.calculator(), limits) for atoms in structures]
        make = functools.partial(_loaded, self.engine, self.model)
        with (
            tempfile.TemporaryDirectory() as folder,
            SurrogatePool(make, 2, lambda *_: None) as pool,
        ):
            work = functools.partial(_evaluated_by_two, folder=folder, limits=limits)
            assert pool.evaluate("screen", work, structures) == alone
            assert not (Path(folder) / str(os.getpid())).exists()
        assert len({evaluation.energy_ev_per_atom for evaluation in alone}) == 5
