"""Contract suite of the DFT codes. It runs the real program, in the folder of the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft_port import CellSize, Converges, DftEngine, DftMethod, MethodChoice
from mlip_autopipec.science.label_set import label_set_of
from mlip_autopipec.testing.contracts.running import execute

__all__ = ["DftEngineContract"]


class DftEngineContract:
    """Set ``engine``, and ``wishes`` where its method cannot be derived without any.

    ``job``: a small structure of low symmetry with forces well above ``force_tolerance`` (eV/Å);
    the engine's own example where none is given.
    """

    engine: ClassVar[DftEngine]
    wishes: ClassVar[Mapping[str, Any]] = {}
    job: ClassVar[LabelJob | None] = None
    force_tolerance: ClassVar[float] = 0.02
    failure_kind: ClassVar[str] = "scf_not_converged"

    @property
    def _job(self) -> LabelJob:
        return self.engine.example() if self.job is None else self.job

    def label(self, job: LabelJob, folder: Path) -> Label:
        folder.mkdir(parents=True)
        code = execute(self.engine.prepare(job, walltime_s=600, cores=1), folder)
        found = self.engine.parse(folder, job, code)
        assert isinstance(found, Label), found
        return found

    def derived(self, wishes: Mapping[str, Any] | None = None) -> MethodChoice:
        asked = self.engine.Wishes.model_validate(self.wishes if wishes is None else wishes)
        return self.engine.method(label_set_of([self._job.atoms]), asked)

    # --- the method

    def test_has_the_methods_of_the_port(self) -> None:
        assert isinstance(self.engine, DftEngine)
        assert self.engine.title

    def test_the_method_is_derived_with_a_reason_for_every_field(self) -> None:
        found = self.derived()
        assert isinstance(found.method, self.engine.Method)
        assert found == self.derived(), "the same structures, another method"
        written = found.method.model_dump(mode="json")
        assert set(found.reasons) == set(written)
        assert all(reason.strip() and "\n" not in reason for reason in found.reasons.values())
        assert "engine" not in written

    def test_the_method_survives_being_written(self) -> None:
        method = self.derived().method
        again = type(method).model_validate_json(method.model_dump_json())
        assert again == method
        assert again.model_dump(mode="json") == method.model_dump(mode="json")

    def test_keys_that_the_engine_does_not_have_are_refused(self) -> None:
        written = self.derived().method.model_dump(mode="json")
        with pytest.raises(ValidationError):
            self.engine.Method.model_validate({**written, "no_such_setting": 1})
        with pytest.raises(ValidationError):
            self.engine.Wishes.model_validate({**self.wishes, "no_such_wish": 1})

    def test_the_wishes_of_a_method_lead_to_it_again(self) -> None:
        method = self.derived().method
        assert self.derived(method.wishes_again(self.wishes)).method == method

    def test_what_is_said_of_fields_is_said_of_fields_that_exist(self) -> None:
        known = set(self.engine.Method.model_fields)
        assert set(self.engine.Method.identity) <= known
        assert set(self.engine.Method.worth_a_note) <= known
        assert self.derived().method.in_words()

    def test_a_derived_method_can_be_prepared(self) -> None:
        method = {"engine": "any", **self.derived().method.model_dump(mode="json")}
        job = LabelJob(self._job.atoms, method)
        assert self.engine.prepare(job, walltime_s=600, cores=1).command

    def test_the_expected_cost_is_finite_and_does_not_fall_with_size(self) -> None:
        method, cell = self.derived().method, self._job.atoms
        if cell.cell.rank == 3:
            larger = cell.repeat((2, 2, 2))
        else:
            beside = cell.copy()
            beside.positions += [20.0, 0.0, 0.0]
            larger = cell + beside
        small, large = (self.engine.cpu_s(method, CellSize.of(one)) for one in (cell, larger))
        assert 0 < small <= large < float("inf")

    def test_a_series_changes_only_what_it_says(self) -> None:
        engine = self.engine
        if not isinstance(engine, Converges):
            return
        method, atoms = self.derived().method, self._job.atoms
        periodic = (bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2]))
        knobs = engine.knobs(method, sorted(set(atoms.get_chemical_symbols())), periodic)
        written = method.model_dump(mode="json")
        changed: set[str] = set()
        for knob in knobs:
            assert len(set(knob.values)) == len(knob.values) > 1
            assert list(knob.values) in (sorted(knob.values), sorted(knob.values, reverse=True))
            assert knob.tighter(knob.values[-1], knob.values[0])
            changed |= set(knob.changes(knob.values[0]))
            costs = [
                engine.cpu_s(_with(method, knob.changes(value)), CellSize.of(atoms))
                for value in (knob.values[0], knob.values[-1])
            ]
            assert costs[0] <= costs[1], "the reference is the cheaper end"
        assert changed <= set(engine.chosen) <= set(written)

    # --- labels

    def test_the_example_pulls_its_displaced_atom_back(self, tmp_path: Path) -> None:
        label = self.label(self.engine.example(), tmp_path / "example")
        assert label.forces[-1, 0] < -0.1
        assert np.abs(label.forces.sum(axis=0)).max() < 0.02

    def test_prepare_is_pure(self) -> None:
        first, second = (self.engine.prepare(self._job, walltime_s=600, cores=1) for _ in range(2))
        assert first == second

    def test_label_is_whole_and_forces_are_minus_the_gradient(self, tmp_path: Path) -> None:
        job = self._job
        label = self.label(job, tmp_path / "centre")
        n = len(job.atoms)
        assert label.forces.shape == (n, 3) and np.isfinite(label.forces).all()
        assert label.stress is None or label.stress.shape == (6,)
        assert label.method_hash == job.method_hash
        atom, axis = np.unravel_index(np.abs(label.forces).argmax(), label.forces.shape)
        step, energies = 0.01, []
        for sign in (1, -1):
            moved = job.atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(
                self.label(replace(job, atoms=moved), tmp_path / f"moved{sign}").energy_ev
            )
        slope = -(energies[0] - energies[1]) / (2 * step)
        assert abs(label.forces[atom, axis]) > 5 * self.force_tolerance
        assert abs(slope - label.forces[atom, axis]) < self.force_tolerance

    def test_without_its_scratch_files_a_folder_says_the_same(self, tmp_path: Path) -> None:
        job, folder = self._job, tmp_path / "run"
        label = self.label(job, folder)
        for path in self.engine.scratch(folder):
            assert path.is_relative_to(folder)
            path.unlink()
        assert not list(self.engine.scratch(folder))
        again = self.engine.parse(folder, job, 0)
        assert isinstance(again, Label), again
        assert again.energy_ev == label.energy_ev

    def test_a_force_above_the_ceiling_is_no_label(self, tmp_path: Path) -> None:
        job = self._job.with_numerics(max_force_ev_per_a=1e-3)
        folder = tmp_path / "run"
        folder.mkdir()
        code = execute(self.engine.prepare(job, walltime_s=600, cores=1), folder)
        found = self.engine.parse(folder, job, code)
        assert isinstance(found, Failure) and found.kind == "geometry", found

    def test_an_empty_folder_is_a_failure_not_a_label(self, tmp_path: Path) -> None:
        assert isinstance(self.engine.parse(tmp_path, self._job, None), Failure)

    def test_repair_ends_and_never_touches_the_physics(self) -> None:
        job, failures = self._job, list[Failure]()
        method, name = job.method, job.method_hash
        for _ in range(50):
            failures.append(Failure(self.failure_kind, "provoked"))
            following = self.engine.repair(job, failures)
            if following is None:
                return
            assert following.method == method
            assert following.method_hash == name
            job = following
        raise AssertionError("repair never gives up")


def _with(method: DftMethod, changes: Mapping[str, Any]) -> DftMethod:
    return method.model_copy(update=dict(changes))
