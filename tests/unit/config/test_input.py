"""input.yaml: what is accepted, and one clear line for everything else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config.begun import question_of
from mlip_autopipec.config.input import UserInput, load_user_input, material_of, schema
from mlip_autopipec.config.sections import BudgetInput, DftInput
from mlip_autopipec.engines import registry


def _load(folder: Path, text: str) -> UserInput:
    path = folder / "input.yaml"
    path.write_text(text + "\n")
    return load_user_input(path)


def test_the_smallest_input_is_one_line(tmp_path: Path) -> None:
    user = _load(tmp_path, "material: Si")
    assert material_of(user).fractions == {"Si": 1.0}
    assert (user.goal, user.budget.dft_calls, user.pressure_gpa) == ("general", "auto", [0.0])


def test_formula_gives_atomic_fractions(tmp_path: Path) -> None:
    material = material_of(_load(tmp_path, "material: Al2O3"))
    assert material.fractions == pytest.approx({"Al": 0.4, "O": 0.6})
    assert material.elements == ("Al", "O")


def test_nobelium_and_yttrium_are_no_booleans(tmp_path: Path) -> None:
    assert material_of(_load(tmp_path, "material: No")).elements == ("No",)
    assert material_of(_load(tmp_path, "material: Y")).elements == ("Y",)


def test_rounded_fractions_are_normalised(tmp_path: Path) -> None:
    material = material_of(_load(tmp_path, "composition: {Cr: 0.333, Fe: 0.333, Ni: 0.333}"))
    assert sum(material.fractions.values()) == pytest.approx(1.0, abs=1e-12)


def test_one_temperature_is_a_list_and_lists_are_sorted(tmp_path: Path) -> None:
    assert _load(tmp_path, "material: Si\ntemperatures_k: 500").temperatures_k == [500.0]
    assert _load(tmp_path, "material: Si\ntemperatures_k: [900, 300, 300]").temperatures_k == [
        300.0,
        900.0,
    ]


def test_structure_file_is_found_beside_the_input(tmp_path: Path) -> None:
    write(tmp_path / "salt.cif", bulk("NaCl", "rocksalt", a=5.6))
    user = _load(tmp_path, "structure: salt.cif")
    material = material_of(user)
    assert material.fractions == {"Cl": 0.5, "Na": 0.5}
    assert material.formula == "NaCl"
    assert material.structure_file == str((tmp_path / "salt.cif").resolve())


WRONG = {
    "matrial: Si": ("matrial", "did you mean 'material'"),
    "material: Sl": ("material", "did you mean 'Si'"),
    "material: silicon": ("material", "did you mean 'Si'"),
    "material: Silicon": ("material", "did you mean 'Si'"),
    "material: si": ("material", "did you mean 'Si'"),
    "material: NaCk": ("material", "did you mean 'Cl'"),
    "material: Na2(": ("material", "'Al2O3'"),
    "material: Al0.75Cu0.25": ("material", "use 'composition'"),
    "material: 3": ("material", "string"),
    "composition: {Al: 3, Cu: 1}": ("composition", "did you mean {Al: 0.75, Cu: 0.25}"),
    "composition: {Al: 0.75, Cuu: 0.25}": ("composition", "did you mean 'Cu'"),
    "composition: {Al: 1.25, Cu: -0.25}": ("composition", "above 0"),
    "composition: {Al: lots}": ("composition.Al", "number"),
    "composition: {}": ("composition", "{Al: 0.75, Cu: 0.25}"),
    "material: Si\ncomposition: {Si: 1}": ("exactly one", "'structure: file'"),
    "goal: general": ("no system", "'material: Si'"),
    "material: Si\ngoal: cristal": ("goal", "did you mean 'crystal'"),
    "material: Si\ngoal: liquid": ("temperatures_k", "melting"),
    "material: Si\ntemperatures_k: -3": ("temperatures_k", "(got -3.0)"),
    "material: Si\ntemperatures_k: 0": ("temperatures_k", "above 0"),
    "material: Si\ntemperatures_k: [300, 30000]": ("temperatures_k", "(got 30000.0)"),
    "material: Si\ntemperatures_k: [300, hot]": ("temperatures_k.1", "(got 'hot')"),
    "material: Si\ntemperatures_k: []": ("temperatures_k", "[300, 900]"),
    "material: Si\npressure_gpa: 1000": ("pressure_gpa", "-500 to 500"),
    "material: Si\npressure_gpa: .nan": ("pressure_gpa", "finite"),
    "material: Si\nbudget: {dft_calls: 0}": ("budget.dft_calls", "(got 0)"),
    "material: Si\nbudget: {wall_minutes: 0}": ("budget.wall_minutes", "1 to 1e6"),
    "material: Si\nbudget: {dft_cals: 9}": ("budget.dft_cals", "did you mean 'dft_calls'"),
    "material: Si\nbudget: {dft_calls: many}": ("budget.dft_calls", "a number, or auto"),
    "material: Si\nbudget: {wall_minutes: long}": ("budget.wall_minutes", "a number, or auto"),
    "material: Si\nbudget: 80": ("budget", "mapping"),
    "material: Si\ndft: {convergence: chek}": ("dft.convergence", "did you mean 'check'"),
    "material: Si\ndft: {cutof_ry: 30}": ("dft.cutof_ry", "did you mean 'cutoff_ry'"),
    "material: Si\ndft: {cutoff_ry: 3}": ("dft.cutoff_ry", "10 to 400 Ry"),
    "material: Si\ndft: {kspacing_per_a: 0}": ("dft.kspacing_per_a", "0.05 to 2"),
    "material: Si\ndft: {convergence: check, cutoff_ry: 30}": (
        "dft",
        "leave out 'convergence: check'",
    ),
    "material: Si\nseed: 1.5": ("seed", "integer"),
    "material: Si\nname: a/b": ("name", "folder name"),
    "material: Si\nmaterial: Ge": ("line 2", "duplicate"),
    "structure: none.cif": ("structure", "no such file"),
    "material: [Si": ("line 2", "YAML syntax error"),
    "material: Si\n\tgoal: crystal": ("line 2", "YAML syntax error"),
    "- Si": ("input.yaml", "'key: value'"),
    "": ("input.yaml", "'material: Si'"),
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_input_is_one_line_with_file_key_and_cure(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        _load(tmp_path, text)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(tmp_path / "input.yaml"))
    for part in WRONG[text]:
        assert part in line
    assert caught.value.exit_code == 2


def test_further_problems_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="and 2 more problems"):
        _load(tmp_path, "material: Si\nseed: -1\npressure_gpa: x\nbudget: {dft_calls: 0}")


def test_missing_input_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_user_input(tmp_path / "absent.yaml")


def test_unreadable_structure_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "broken.cif").write_text("nothing of the kind")
    with pytest.raises(InputError, match=r"structure: cannot be read.*broken\.cif"):
        _load(tmp_path, "structure: broken.cif")


def test_misspelt_structure_file_gets_the_near_one(tmp_path: Path) -> None:
    (tmp_path / "quartz.cif").write_text("data")
    with pytest.raises(InputError, match=r"did you mean 'quartz\.cif'"):
        _load(tmp_path, "structure: qartz.cif")


def test_schema_knows_every_key_and_refuses_others() -> None:
    content = schema()
    assert set(content["properties"]) == set(UserInput.model_fields)
    assert content["additionalProperties"] is False
    assert all("description" in part or "$ref" in part for part in content["properties"].values())
    assert content["properties"]["temperatures_k"]["anyOf"][0] == {"type": "number"}
    dft = content["$defs"]["DftInput"]["properties"]
    assert {"engine", "max_atoms", "cutoff_ry", "kspacing_per_a", "calculator"} <= set(dft)


ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "docs/tutorial/silicon.md", ROOT / "docs/reference/input.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_inputs_in_the_documentation_are_valid(tmp_path: Path, page: Path) -> None:
    inputs = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert inputs
    for text in inputs:
        _load(tmp_path, text)


def test_every_key_is_documented() -> None:
    page = (ROOT / "docs/reference/input.md").read_text()
    keys = [
        *(set(UserInput.model_fields) - {"budget", "dft"}),
        *(f"budget.{key}" for key in BudgetInput.model_fields),
        *(f"dft.{key}" for key in DftInput.model_fields),
    ]
    assert [key for key in keys if f"| `{key}` |" not in page] == []
    wishes = {
        key
        for name in registry.PORTS["dft"].built_in
        for key in registry.dft_engine(name).Wishes.model_fields
    }
    assert [key for key in sorted(wishes) if f"`dft.{key}`" not in page] == []


def test_pressures_are_a_number_or_a_list_and_one_alone_is_stored_as_a_number(
    tmp_path: Path,
) -> None:
    one, more = (_load(tmp_path, f"material: Si\npressure_gpa: {p}") for p in ("5", "[10, 0]"))
    assert (one.pressure_gpa, more.pressure_gpa) == ([5.0], [0.0, 10.0])
    assert question_of(one) == {"material": "Si", "pressure_gpa": 5.0}, "as before there were lists"
    assert question_of(more) == {"material": "Si", "pressure_gpa": [0.0, 10.0]}
    assert "pressure_gpa" not in question_of(_load(tmp_path, "material: Si\npressure_gpa: 0"))
    with pytest.raises(InputError, match="impossible pressure"):
        _load(tmp_path, "material: Si\npressure_gpa: [0, 900]")
    with pytest.raises(InputError, match="wrong number of pressures"):
        _load(tmp_path, "material: Si\npressure_gpa: []")
