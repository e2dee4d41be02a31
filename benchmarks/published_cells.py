"""A released potential on the labelled cells of others: forces, and energies but for their zero.

``python benchmarks/published_cells.py RESULT FILE...`` reads the potential of a result folder and
extended XYZ files (energy, forces; ``group`` names the kind of cell), and prints for each kind the
root mean square error of force components and of energies per atom, after the mean difference of
all energies per atom was taken off: other codes and pseudopotentials have another zero. Labels of
another code at other settings are no reference to a meV; they show whether a potential holds where
nobody of its campaign has looked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from mlip_autopipec.engines.potential_folder import calculator_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    calculator = calculator_of(options.result)
    frames: list[Atoms] = [frame for file in options.files for frame in read(file, ":")]
    rows = []
    for frame in frames:
        atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True)
        atoms.calc = calculator
        energy = (atoms.get_potential_energy() - frame.get_potential_energy()) / len(atoms)
        square = float(np.mean((atoms.get_forces() - frame.get_forces()) ** 2))
        rows.append((str(frame.info.get("group")), energy, square, 3 * len(atoms)))
    zero = float(np.mean([row[1] for row in rows]))
    print(f"{'kind':12} {'cells':>6} {'meV/Å':>8} {'meV/atom':>9}")
    for kind in [*sorted({row[0] for row in rows}), "all"]:
        own = [row for row in rows if kind in (row[0], "all")]
        force = np.sqrt(np.average([row[2] for row in own], weights=[row[3] for row in own]))
        energy = np.sqrt(np.mean([(row[1] - zero) ** 2 for row in own]))
        print(f"{kind:12} {len(own):6d} {1000 * force:8.0f} {1000 * energy:9.1f}")


if __name__ == "__main__":
    main()
