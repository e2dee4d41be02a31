"""The plan: its numbers follow from the material, each has a reason, and plan.yaml keeps both."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config import cost, facts, load
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Condition, Plan
from mlip_autopipec.config.show import value_at
from mlip_autopipec.config.yaml import is_untouched, load_plan, load_reasons, write_plan
from mlip_autopipec.engines.dft.quantum_espresso.cost import START_S, valence_electrons
from mlip_autopipec.science.cutout_rules import MIN_CUTOUT_ATOMS
from mlip_autopipec.science.generation import STRATEGIES

MATERIALS: list[dict[str, Any]] = [
    {"material": "Si"},
    {"material": "NaCl"},
    {"material": "Cu"},
    {"material": "Fe", "temperatures_k": 600},
    {"material": "Si", "goal": "crystal"},
    {"material": "Si", "goal": "liquid", "temperatures_k": [1700, 2000]},
    {"composition": {"Al": 0.75, "Cu": 0.25}},
]


def _derive(cores: int = 2, **keys: Any) -> tuple[Plan, dict[str, str]]:
    return derive(UserInput.model_validate(keys), cores=cores)


def _leaves(data: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in data.items():
        found += (
            _leaves(value, f"{prefix}{key}.")
            if isinstance(value, dict) and value
            else [f"{prefix}{key}"]
        )
    return found


def test_silicon_stays_within_what_two_cores_can_do() -> None:
    plan, _ = _derive(material="Si")
    assert plan.dft.method.cutoff_ry == 28
    assert plan.dft.method.rho_cutoff_ry == 112
    assert plan.dft.method.pseudos == {"Si": "Si.upf"}
    assert plan.dft.method.kmesh_shifted
    assert not plan.dft.method.spin_polarized
    assert plan.selection.initial_count == 22
    assert (plan.embedding.max_dft_atoms, plan.exploration.md_atoms) == (32, 16)
    assert plan.exploration.timestep_fs == 2.0
    assert 5.0 <= plan.training.settings.cutoff_a <= 5.5
    assert [c.name for c in plan.exploration.conditions if c.role == "asked"] == [
        "npt-300K",
        "npt-900K",
    ]
    expected = cost.estimate(plan)
    assert expected.dft_calls <= 50 < plan.budget.dft_calls and expected.within_budget


@pytest.mark.parametrize("keys", MATERIALS, ids=str)
def test_every_number_has_a_reason(keys: dict[str, Any]) -> None:
    plan, reasons = _derive(**keys)
    data = plan.model_dump(mode="json")
    for leaf in _leaves(data):
        assert any(leaf == key or leaf.startswith(f"{key}.") for key in reasons), leaf
    for key, reason in reasons.items():
        value_at(data, key)  # KeyError for a reason that explains nothing
        assert reason.strip()


@pytest.mark.parametrize("keys", MATERIALS, ids=str)
def test_plan_yaml_gives_back_the_plan_and_its_reasons(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    plan, reasons = _derive(**keys)
    path = tmp_path / "plan.yaml"
    write_plan(plan, reasons, path)
    assert load_plan(path) == plan
    assert load_plan(path).hash == plan.hash
    assert load_reasons(path) == reasons
    assert is_untouched(path)


@pytest.mark.parametrize("keys", MATERIALS, ids=str)
def test_plans_can_be_carried_out(keys: dict[str, Any]) -> None:
    plan, _ = _derive(**keys)
    assert {s.name for batch in plan.generation.batches for s in batch} <= set(STRATEGIES)
    assert all(plan.generation.batches)
    assert plan.exploration.gamma_break > plan.exploration.gamma_select > 1
    assert plan.selection.initial_count + plan.validation.calls < plan.budget.dft_calls
    assert (plan.training.trainer, plan.training.fast_settings) == ("linear", None)
    assert plan.exploration.equilibration_ps < plan.exploration.run_ps
    assert 20 * plan.exploration.sample_every_ps < plan.exploration.run_ps
    names = [condition.name for condition in plan.exploration.conditions]
    assert len(set(names)) == len(names)
    assert plan.exploration.md_atoms <= plan.embedding.max_dft_atoms, "labelled whole"
    assert set(plan.dft.method.pseudo_sha256) == set(plan.material.elements)
    embedding = plan.embedding
    assert plan.dft.walltime_s > cost.label_cpu_s(plan.material, plan.dft, embedding.largest_atoms)
    size = embedding.cutout_atoms or MIN_CUTOUT_ATOMS
    # Of a compact cell, the images of fcc: what is larger sees itself.
    half_a = (math.sqrt(2) * size * facts.volume_per_atom_a3(plan.material)) ** (1 / 3) / 2
    assert embedding.core_radius_a + embedding.buffer_a < half_a
    assert embedding.core_radius_a + embedding.environment_a < half_a


def test_cutouts_are_made_only_where_dft_affords_one_that_has_a_core() -> None:
    """Silicon's 96 atoms take half an hour; a calculator that costs little affords them. A limit of
    the user's is his.
    """
    plan, reasons = _derive(material="Si")
    assert plan.embedding.cutout_atoms is None
    assert plan.embedding.largest_atoms == plan.embedding.max_dft_atoms == 32
    assert "no cutouts: they need 96 atoms" in reasons["embedding.max_dft_atoms"]
    assert reasons["embedding.core_radius_a"] == "without effect: there are no cutouts"
    assert "cutout_atoms" not in plan.model_dump(mode="json")["embedding"]
    cheap = {"engine": "ase_calculator", "calculator": "ase.calculators.emt:EMT"}
    plan, reasons = _derive(material="Al", dft=cheap)
    assert (plan.embedding.max_dft_atoms, plan.embedding.cutout_atoms) == (32, 128)
    assert "s of one core for a cutout" in reasons["embedding.cutout_atoms"]
    assert plan == Plan.model_validate(plan.model_dump(mode="json"))
    plan, _ = _derive(material="Si", dft={"max_atoms": 100})
    assert plan.embedding.max_dft_atoms == plan.embedding.cutout_atoms == 100
    plan, reasons = _derive(material="Si", dft={"max_atoms": 95})
    assert plan.embedding.cutout_atoms is None
    assert reasons["embedding.max_dft_atoms"].startswith("given; ")


def test_light_atoms_and_heat_need_short_steps() -> None:
    steps = {m: _derive(material=m)[0].exploration.timestep_fs for m in ("MgH2", "C", "Si", "Au")}
    assert steps["MgH2"] < steps["C"] < steps["Si"] == steps["Au"]
    hot, _ = _derive(material="Si", goal="liquid", temperatures_k=3000)
    assert hot.exploration.timestep_fs == steps["Si"] / 2


def test_hardest_element_sets_the_cutoff_whatever_its_share() -> None:
    plan, _ = _derive(composition={"Al": 0.98, "Cu": 0.02})
    assert (
        plan.dft.method.cutoff_ry
        == _derive(material="Cu")[0].dft.method.cutoff_ry
        > _derive(material="Al")[0].dft.method.cutoff_ry
    )


def test_magnetic_elements_are_spin_polarised() -> None:
    plan, _ = _derive(material="Fe")
    assert plan.dft.method.spin_polarized
    assert plan.dft.method.starting_moments["Fe"] > 2


def test_metals_need_denser_kpoints_than_semiconductors() -> None:
    assert (
        _derive(material="Al")[0].dft.method.kspacing_per_a
        < _derive(material="Si")[0].dft.method.kspacing_per_a
    )


def test_given_dft_settings_replace_the_derived_ones_and_say_so() -> None:
    plan, reasons = _derive(material="Al", dft={"cutoff_ry": 44, "kspacing_per_a": 0.5})
    assert (plan.dft.method.cutoff_ry, plan.dft.method.kspacing_per_a) == (44, 0.5)
    assert plan.dft.method.rho_cutoff_ry == 4 * 44
    assert reasons["dft.method.kspacing_per_a"].startswith("given, instead of 0.25")


def test_cells_too_small_to_cut_out_are_labelled_whole() -> None:
    small, _ = _derive(material="Al", dft={"max_atoms": 8})
    assert small.embedding.max_dft_atoms == small.exploration.md_atoms == 8
    large, _ = _derive(material="Al", dft={"max_atoms": 28})
    assert large.exploration.md_atoms == 27 < large.embedding.max_dft_atoms == 28


def test_goal_decides_on_the_melt() -> None:
    def melts(**keys: Any) -> int:
        plan, _ = _derive(**keys)
        return sum(
            s.count for batch in plan.generation.batches for s in batch if s.name == "melt_quench"
        )

    general = melts(material="Si")
    assert melts(material="Si", goal="crystal") == 0
    assert melts(material="Si", goal="liquid", temperatures_k=1800) > 4 * general > 0


def _conditions(role: str, **keys: Any) -> list[Condition]:
    plan, _ = _derive(**keys)
    return [item for item in plan.exploration.conditions if item.role == role]


def test_every_temperature_is_asked_at_every_pressure() -> None:
    def asked(pressure_gpa: Any) -> list[tuple[float, float]]:
        found = _conditions("asked", material="Si", pressure_gpa=pressure_gpa)
        assert {item.ensemble for item in found} == {"npt"}
        return [(item.temperature_k, item.pressure_gpa) for item in found]

    assert asked(5) == [(300, 5), (900, 5)]
    assert asked([10, 0]) == [(300, 0), (300, 10), (900, 0), (900, 10)]


def test_margins_go_beyond_what_was_asked_on_every_side() -> None:
    found = _conditions("margin", material="Si")
    assert max(item.temperature_k for item in found) == pytest.approx(1.2 * 900)
    assert {item.strain for item in found if item.ensemble == "nvt"} == {0.03, -0.03}
    assert [item.start for item in found].count("vacancy") == 1
    pressed = _conditions("margin", material="Si", pressure_gpa=[5, 20])
    assert not any(item.strain for item in pressed), "the start cell has not the volume there"
    at_highest = [item.pressure_gpa for item in pressed if item.temperature_k == 900]
    assert min(at_highest) < 5 and max(at_highest) > 20


def test_a_large_cell_checks_the_highest_temperature_last() -> None:
    plan, _ = _derive(material="Si")
    (check,) = (item for item in plan.exploration.conditions if item.role == "check")
    assert plan.exploration.conditions[-1] == check
    assert 216 <= (check.atoms or 0) <= 512
    assert (check.ensemble, check.temperature_k) == ("npt", 900)


@pytest.mark.parametrize(
    ("keys", "starts"),
    [
        ({"temperatures_k": [300, 600]}, {"crystal"}),  # far below 933 K
        ({"temperatures_k": [1200]}, {"melt"}),
        ({"temperatures_k": [300, 1200]}, {"crystal", "melt"}),
        ({"temperatures_k": [1000], "goal": "crystal"}, {"crystal"}),
        ({"temperatures_k": [700], "goal": "liquid"}, {"melt"}),
    ],
)
def test_what_is_asked_above_melting_begins_as_a_liquid(
    keys: dict[str, Any], starts: set[str]
) -> None:
    assert {item.start for item in _conditions("asked", material="Al", **keys)} == starts


def test_near_melting_a_liquid_is_a_margin() -> None:
    (melt,) = (item for item in _conditions("margin", material="Al") if item.start == "melt")
    assert (
        melt.temperature_k
        > 933
        > max(item.temperature_k for item in _conditions("asked", material="Al"))
    )
    assert not any(item.start == "melt" for item in _conditions("margin", material="Si"))


def test_an_alloy_begins_from_more_than_one_decoration() -> None:
    found = _conditions("asked", composition={"Al": 0.75, "Cu": 0.25})
    assert {item.start for item in found} == {"crystal", "phase"}


def test_a_surface_is_explored_where_it_is_asked_for() -> None:
    asked = {"strategies": [{"name": "surface", "count": 4}]}
    assert any(item.start == "slab" for item in _conditions("margin", material="Al", **asked))
    assert not any(item.start == "slab" for item in _conditions("margin", material="Al"))


def test_cores_and_higher_budgets_leave_the_plan_the_same() -> None:
    base, _ = _derive(material="Si", cores=2)
    more, _ = _derive(material="Si", cores=16, budget={"dft_calls": 400, "wall_minutes": 600})
    other, _ = _derive(material="Si", cores=2, seed=7)
    assert base.hash == more.hash
    assert base.hash != other.hash


def test_small_budgets_leave_room_for_the_equation_of_state() -> None:
    for calls in (20, 30, 44):
        plan, _ = _derive(material="Si", budget={"dft_calls": calls})
        assert plan.selection.initial_count + plan.validation.calls < calls


def test_element_without_pseudopotential_is_refused() -> None:
    with pytest.raises(InputError, match="No"):
        _derive(material="No")


def test_label_cost_follows_size_cutoff_and_the_measured_anchor() -> None:
    plan, _ = _derive(material="Si")
    anchor = plan.dft.with_method(kspacing_per_a=0.63)

    def seconds(atoms: int, **changes: Any) -> float:
        return cost.label_cpu_s(plan.material, anchor.with_method(**changes), atoms)

    assert 2.5 < seconds(8) < 21  # measured 5.1 s with half the k-points
    assert 48 < seconds(64) < 640  # measured 96 s with the faster Gamma code
    higher = {"cutoff_ry": 56.0, "rho_cutoff_ry": 224.0}
    ratio = (seconds(8, **higher) - START_S) / (seconds(8) - START_S)
    assert ratio == pytest.approx(2**1.5)
    assert seconds(8, spin_polarized=True) > 1.5 * seconds(8)


def test_valence_electrons_of_the_family() -> None:
    known = {
        "H": 1,
        "Li": 3,
        "C": 4,
        "Na": 9,
        "Al": 3,
        "Si": 4,
        "Cl": 7,
        "Ti": 12,
        "Fe": 16,
        "Cu": 19,
        "Ga": 13,
        "W": 14,
    }
    assert {symbol: valence_electrons(symbol) for symbol in known} == known


def test_volume_per_atom() -> None:
    plan, _ = _derive(material="Si")
    assert facts.volume_per_atom_a3(plan.material) == pytest.approx(5.43**3 / 8, rel=0.01)
    titanium, _ = _derive(material="Ti")
    assert facts.volume_per_atom_a3(titanium.material) == pytest.approx(17.6, rel=0.03)


def test_edited_plan_is_read_with_one_line_errors(tmp_path: Path) -> None:
    plan, reasons = _derive(material="Si")
    path = tmp_path / "plan.yaml"
    write_plan(plan, reasons, path)
    text = path.read_text()
    wrong = {
        "cutoff_ry: 28.0": (
            "cutoff_r: 28.0",
            "dft.method.cutoff_r: unknown key; did you mean 'cutoff_ry'",
        ),
        "batch_count: 4": (
            "batch_count: 0",
            "selection.batch_count: must be greater than or equal to 1",
        ),
        "ensemble: nvt": ("ensemble: nvvt", "did you mean 'nvt'"),
        "max_atoms: 8}": ("max_atoms: [8]}", "generation.batches.0"),
    }
    for right, (mistake, message) in wrong.items():
        assert right in text
        path.write_text(text.replace(right, mistake, 1))
        with pytest.raises(InputError) as caught:
            load_plan(path)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_edit_is_executed_and_noticed(tmp_path: Path) -> None:
    plan, reasons = _derive(material="Si")
    path = tmp_path / "plan.yaml"
    write_plan(plan, reasons, path)
    path.write_text(path.read_text().replace("cutoff_ry: 28.0", "cutoff_ry: 36.0", 1))
    assert load_plan(path).dft.method.cutoff_ry == 36.0
    assert load_plan(path).hash != plan.hash
    assert not is_untouched(path)


def _write_input(folder: Path, text: str) -> Path:
    path = folder / "input.yaml"
    path.write_text(text)
    return path


def test_a_run_folder_belongs_to_one_plan(tmp_path: Path) -> None:
    path = _write_input(tmp_path, "material: Si\n")
    first = load.load(path, runs_dir=tmp_path / "runs", cores=2)
    write_plan(first.plan, first.reasons, first.root / "plan.yaml")
    _write_input(tmp_path, "material: Si\nseed: 5\n")
    changed = load.load(path, runs_dir=tmp_path / "runs", cores=2)
    load.check_same_plan(changed)  # derived, never begun, never edited: may be replaced
    (first.root / "plan.json").write_text(first.plan.model_dump_json())  # the driver began
    with pytest.raises(InputError, match="seed differ"):
        load.check_same_plan(changed)
    _write_input(tmp_path, "material: Si\nbudget: {dft_calls: 200}\n")
    load.check_same_plan(load.load(path, runs_dir=tmp_path / "runs", cores=8))


def test_edits_in_plan_yaml_are_not_overwritten(tmp_path: Path) -> None:
    path = _write_input(tmp_path, "material: Si\n")
    first = load.load(path, runs_dir=tmp_path / "runs", cores=2)
    plan_file = first.root / "plan.yaml"
    write_plan(first.plan, first.reasons, plan_file)
    plan_file.write_text(plan_file.read_text().replace("cutoff_ry: 28.0", "cutoff_ry: 36.0", 1))
    with pytest.raises(InputError, match=r"dft\.method\.cutoff_ry differ"):
        load.check_same_plan(first)
    edited = load.load(plan_file, runs_dir=tmp_path / "elsewhere", cores=None)
    load.check_same_plan(edited)
    assert edited.root == first.root
    assert edited.plan.dft.method.cutoff_ry == 36.0
    assert edited.reasons == first.reasons


def test_estimate_adds_up() -> None:
    plan, _ = _derive(material="Si")
    hours = cost.estimate(plan).core_hours
    parts = sum(value for stage, value in hours.items() if stage != "total")
    assert math.isclose(parts, hours["total"], abs_tol=0.03)
    more_cores = plan.model_copy(update={"executor": plan.executor.model_copy(update={"cores": 4})})
    assert cost.estimate(more_cores).wall_minutes == pytest.approx(
        cost.estimate(plan).wall_minutes / 2, rel=0.01
    )
