"""Contract suite of the properties: few and sane structures, the same each time; and no error for a
potential that is the labels' own method, but one for a potential that is not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import Candidate, atoms_to_json
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.contacts import closest_contact
from mlip_autopipec.science.properties.port import (
    Answer,
    AsksSurrogate,
    Comparison,
    Found,
    Known,
    Property,
    Question,
    Subject,
    evaluated,
)

__all__ = ["PropertyContract", "Stiffer"]

METHOD = "method of the contract"


class Stiffer(Calculator):  # type: ignore[misc]
    """Another calculator's energy, forces and stress times ``factor``."""

    def __init__(self, inner: Calculator, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor
        known = ("energy", "forces", "stress")
        self.implemented_properties = [
            name for name in known if name in inner.implemented_properties
        ]

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        whole = bool(self.atoms.pbc.all())
        names = [name for name in self.implemented_properties if name != "stress" or whole]
        self.results = {
            name: self.factor * np.asarray(self.inner.get_property(name, self.atoms))
            for name in names
        }


class PropertyContract:
    """Subclass it with ``item`` (a class), ``start`` (at rest by ``calculator``) and ``subject``.

    ``calculator`` stands for DFT and for the surrogate. ``tolerance``: the largest error, in the
    units of ``PropertyValue.error``, of the potential that is DFT itself; relaxations leave some.
    """

    item: type[Property]
    start: Atoms
    calculator: Calculator
    subject: ClassVar[Subject] = Subject("crystal")
    tolerance: ClassVar[float] = 1e-6
    most_atoms: ClassVar[int] = 64

    # --- what the tests are made of

    @property
    def planned(self) -> Property:
        return self.item.planned(self.subject)[0]

    def nothing_asked(self) -> Known:
        prepared = None
        if isinstance(self.planned, AsksSurrogate):
            prepared = self.planned.prepare(self.start, self.calculator)
        return Known(self.start, surrogate="contract", prepared=prepared)

    def answered(self) -> tuple[Known, list[Sequence[Question]]]:
        """All that the property asks, answered by the calculator, and the questions step by
        step.
        """
        item, known = self.planned, self.nothing_asked()
        steps: list[Sequence[Question]] = []
        while questions := item.structures(known):
            steps.append(questions)
            assert len(steps) <= item.calls, "it never ends asking"
            unlabelled = [Answer(question.candidate, _to_come()) for question in questions]
            asked = replace(known, answers=tuple(unlabelled))
            new = evaluated(asked, self.calculator).answers
            known = replace(known, answers=(*known.answers, *new))
        return known, steps

    def compared(self, known: Known, potential: Calculator) -> Comparison:
        dft = self.planned.from_labels(known)
        ours = self.planned.from_calculator(known, potential)
        assert isinstance(dft, Found), dft
        assert isinstance(ours, Found), ours
        return Comparison(dft, ours)

    # --- the contract

    def test_its_settings_are_planned_with_a_reason_for_each(self) -> None:
        item, reasons = self.item.planned(self.subject)
        assert item.calls >= 1
        assert set(reasons) == set(_settings(item))
        assert all(reasons.values())

    def test_its_settings_survive_a_plan(self) -> None:
        stored = json.loads(json.dumps(_settings(self.planned)))
        assert self.item.model_validate(stored) == self.planned

    def test_it_asks_for_few_sane_structures(self) -> None:
        known, steps = self.answered()
        assert 1 <= len(known.answers) <= self.planned.calls
        for question in (question for step in steps for question in step):
            atoms = question.candidate.atoms
            assert 1 <= len(atoms) <= self.most_atoms
            assert np.isfinite(atoms.positions).all()
            assert closest_contact(atoms) > 0.5
            assert question.candidate.core is None
            again = Candidate.from_json(json.loads(json.dumps(question.candidate.to_json())))
            assert again.provenance == question.candidate.provenance
        assert all(question.first for step in steps[:-1] for question in step), (
            "what others follow from is marked as first"
        )
        assert not any(question.first for question in steps[-1])

    def test_it_asks_the_same_each_time(self) -> None:
        one, other = (
            [question.candidate.to_json() for step in self.answered()[1] for question in step]
            for _ in range(2)
        )
        assert one == other
        known, _ = self.answered()
        assert [atoms_to_json(answer.atoms) for answer in known.answers] == [
            item["atoms"] for item in one
        ]

    def test_a_potential_that_is_dft_has_no_error(self) -> None:
        known, _ = self.answered()
        values = self.planned.values(self.compared(known, self.calculator))
        assert values
        for value in values:
            assert value.error is not None and value.met, value
            assert value.error <= self.tolerance, value

    def test_another_potential_has_one(self) -> None:
        known, _ = self.answered()
        found = self.compared(known, Stiffer(self.calculator, 1.5))
        errors = [value.error for value in self.planned.values(found)]
        assert any(error is not None and error > 100 * self.tolerance for error in errors), errors

    def test_what_was_found_survives_the_log(self) -> None:
        known, _ = self.answered()
        found = self.compared(known, self.calculator)
        again = Comparison.from_json(json.loads(json.dumps(found.to_json())))
        assert again == found
        assert self.planned.values(again) == self.planned.values(found)

    def test_nothing_known_is_nothing_met(self) -> None:
        values = self.planned.values(Comparison())
        assert values
        for value in values:
            assert value.potential is None and value.dft is None and value.met is None
            assert value.key and value.label and value.unit and value.tolerance > 0
        assert len({value.key for value in values}) == len(values)

    def test_without_a_label_it_says_so_and_asks_no_more(self) -> None:
        item, known = self.planned, self.nothing_asked()
        refused = [Answer(question.candidate, None) for question in item.structures(known)]
        known = replace(known, answers=tuple(refused))
        assert list(item.structures(known)) == []
        found = item.from_labels(known)
        assert isinstance(found, Failure) and found.kind == "validation_data" and found.message

    def test_a_report_can_show_it(self) -> None:
        known, _ = self.answered()
        failed = Found(failure="it went wrong")
        found = self.compared(known, self.calculator)
        for shown in (
            self.planned.shown(found),
            self.planned.shown(Comparison()),
            self.planned.shown(Comparison(found.dft, failed)),
            self.planned.shown(Comparison(failed)),
        ):
            assert shown.title
            if shown.table is not None:
                assert {len(row) for row in shown.table.rows} == {len(shown.table.heads)}
            for line in shown.chart.lines if shown.chart else ():
                assert line.x and np.isfinite(line.x).all() and np.isfinite(line.y).all()
                assert line.style == "mark" or len(line.x) == len(line.y)
        notes = " ".join(self.planned.shown(Comparison(found.dft, failed)).notes)
        assert "it went wrong" in notes


def _settings(item: Property) -> Json:
    data: Json = item.model_dump(mode="json")
    return data


def _to_come() -> Label:
    return Label(0.0, np.zeros((1, 3)), None, METHOD, 1, 0.0)
