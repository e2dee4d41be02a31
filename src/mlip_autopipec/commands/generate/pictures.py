"""A sheet of small pictures of structures (PNG), so that a person sees at a glance what will be
calculated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.science.lattices import bare, standard_cell

__all__ = ["draw_sheet"]

COLUMNS, MOST = 5, 40
TILE_INCHES, CAPTION_INCHES, TITLE_INCHES = 2.2, 0.4, 0.5
# Crystals of a few atoms say more in their conventional cells; larger ones are drawn as they are.
SMALL_ATOMS = 9
ROTATION = "-75x,15y,5z"


def draw_sheet(pictures: Sequence[tuple[Atoms, str]], path: Path, title: str) -> None:
    """Draw at most 40 structures with their captions, five in a row, seen alike."""
    import io

    from ase.visualize.plot import plot_atoms
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = pictures[:MOST]
    rows = max(1, -(-len(chosen) // COLUMNS))
    height = rows * (TILE_INCHES + CAPTION_INCHES) + TITLE_INCHES
    figure = Figure(figsize=(COLUMNS * TILE_INCHES, height))
    # Set by hand: matplotlib's own layouts take seconds for so many axes.
    top = 1 - (TITLE_INCHES + CAPTION_INCHES) / height
    figure.subplots_adjust(
        0.01, 0.01, 0.99, top, wspace=0.15, hspace=CAPTION_INCHES / TILE_INCHES + 0.1
    )
    FigureCanvasAgg(figure)
    figure.suptitle(
        title if len(chosen) == len(pictures) else f"{title} (the first {MOST} of {len(pictures)})"
    )
    for index, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).ravel()):
        axes.set_axis_off()
        if index < len(chosen):
            atoms, caption = chosen[index]
            plot_atoms(
                _shown(atoms),
                axes,
                rotation=ROTATION,
                radii=0.5,
                show_unit_cell=2 if atoms.pbc.any() else 0,
            )
            axes.set_title(caption, fontsize=7)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    atomic_write(path, content.getvalue())


def _shown(atoms: Atoms) -> Atoms:
    """The conventional cell of a small crystal, eight of them where it holds a few atoms only."""
    if len(atoms) >= SMALL_ATOMS or not atoms.pbc.all():
        return bare(atoms)
    unit = standard_cell(atoms, primitive=False)
    repeated: Atoms = unit.repeat((2, 2, 2) if len(unit) < SMALL_ATOMS else (1, 1, 1))
    return repeated
