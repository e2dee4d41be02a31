"""Do the tests notice? Each deliberate fault of the table, put into a copy of the tree, and the
tests of its room.

``make mutants``, or ``python -m benchmarks.mutants [NAME ...]`` from the checkout: prints for each
fault whether a test went red, and exits with 1 when any survives or no longer fits the code. The
checkout itself is never changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

from benchmarks.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("src", "tests", "examples", "docs", "README.md", "pyproject.toml")
LIMIT_S = 600.0
"""A fault that makes its tests hang has been noticed."""
NOTHING_COLLECTED = (4, 5)


def misfit(mutant: Mutant, root: Path) -> str | None:
    """Why the fault cannot be put into the tree at ``root``; None where it can."""
    path = root / "src" / "mlip_autopipec" / mutant.file
    if not path.is_file():
        return f"{mutant.file} is not there"
    found = path.read_text().count(mutant.old)
    if found != 1:
        return f"{mutant.old!r} stands {found} times in {mutant.file}"
    missing = [test for test in mutant.tests if not (root / "tests" / test).exists()]
    return f"no tests {', '.join(missing)}" if missing else None


@contextmanager
def planted(mutant: Mutant, root: Path) -> Iterator[None]:
    """The tree at ``root`` with the fault in it."""
    path = root / "src" / "mlip_autopipec" / mutant.file
    sound = path.read_text()
    path.write_text(sound.replace(mutant.old, mutant.new))
    try:
        yield
    finally:
        path.write_text(sound)


def pytest(root: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of the tree at ``root`` until the first that fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    # Compiled files would be taken for those of another fault that was written in the same second.
    environment = {
        **os.environ,
        "PYTHONPATH": str(root / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.run(
        [*command, *(f"tests/{test}" for test in tests)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def verdict(mutant: Mutant, root: Path) -> str:
    """``killed``, ``survived``, or what keeps it from being tried."""
    if problem := misfit(mutant, root):
        return f"does not fit: {problem}"
    with planted(mutant, root):
        try:
            done = pytest(root, mutant.tests)
        except subprocess.TimeoutExpired:
            return "killed"
    if done.returncode in NOTHING_COLLECTED:
        return f"no test was run: {done.stdout.strip().splitlines()[-1:]}"
    return "killed" if done.returncode else "survived"


def copy_of_the_tree(folder: Path) -> Path:
    """What the tests need, without compiled files."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only faults whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--list", action="store_true", help="names alone")
    given = parser.parse_args()
    chosen = [m for m in MUTANTS if not given.names or any(n in m.name for n in given.names)]
    if given.list:
        print("\n".join(f"{mutant.name}: {mutant.file}" for mutant in chosen))
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees: Queue[Path] = Queue()
        for number in range(given.jobs):
            trees.put(copy_of_the_tree(Path(folder) / str(number)))
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        sound = pytest(ROOT, tests) if chosen else None
        if sound is not None and sound.returncode:
            print(sound.stdout[-3000:] + "\nthe tests fail without any fault")
            return 1
        print(f"{len(tests)} test files or folders are green without a fault", flush=True)

        def tried(mutant: Mutant) -> tuple[Mutant, str]:
            tree, begun = trees.get(), time.monotonic()
            try:
                found = verdict(mutant, tree)
            finally:
                trees.put(tree)
            print(f"{mutant.name}: {found} ({time.monotonic() - begun:.0f} s)", flush=True)
            return mutant, found

        with ThreadPoolExecutor(given.jobs) as pool:
            results = list(pool.map(tried, chosen))
    alive = [f"{mutant.name}: {found}" for mutant, found in results if found != "killed"]
    print(f"{len(results) - len(alive)} of {len(results)} faults were noticed")
    print("\n".join(alive))
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
