"""What a campaign leaves behind in ``<run>/result/``: potential, data, ready-to-run inputs, summary
and report.

Whatever is missing is null in ``summary.json`` and named in its ``notes``; nothing is invented.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ase.io import write

from mlip_autopipec.base.files import atomic_write, read_json, write_json
from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import METRICS, PREDICTIONS, MdExample, WritesExamples
from mlip_autopipec.engines.potential_folder import FIT, sign
from mlip_autopipec.report.findings import Findings, History, findings
from mlip_autopipec.report.fits import left_out
from mlip_autopipec.report.publishing import contents, publish
from mlip_autopipec.report.summary import summarize, warnings
from mlip_autopipec.report.training_file import training_frames
from mlip_autopipec.report.values import Summary, to_json
from mlip_autopipec.runtime import layout
from mlip_autopipec.science.baseline import BASELINE
from mlip_autopipec.science.predictions import Predictions

__all__ = ["write_campaign_result", "write_result"]

# Large enough for pressures and temperatures to mean something, small enough to run in a minute.
EXAMPLE_ATOMS = 512

SUMMARY, REPORT = "summary.json", "report.html"
CALCULATOR = "potential.py"
CALCULATOR_TEXT = '''\
"""This potential in ASE, wherever this folder lies:

    from potential import calculator
    atoms.calc = calculator()

Energies (eV) are those of DFT, the isolated atoms' and any baseline included; forces, stress, and
atoms.calc.results["gamma"], the extrapolation grade of each atom, come with them.
"""

from pathlib import Path

from mlip_autopipec.engines.potential_folder import calculator_of


def calculator():
    """A new ASE calculator."""
    return calculator_of(Path(__file__).resolve().parent)
'''


def write_campaign_result(
    root: Path, plan: Plan, state: CampaignState, history: History, wall_s: float
) -> Summary:
    """Write ``root/result`` from the log and return its summary."""
    return write_result(root, plan, findings(plan, state, history, wall_s))


def write_result(root: Path, plan: Plan, found: Findings) -> Summary:
    """Write ``root/result/`` and return its summary.

    At its top lies what a user takes: whatever gives energies there gives those of DFT. The
    potential's own folder, of which the files of the fit alone lack parts, is ``fit/``.

    Files are prepared aside and put in place one by one, so a reader never sees half a file and a
    kill loses nothing that was there before; what a person put there stays. The report comes last:
    it only draws what the other files hold.
    """
    target = root / layout.RESULT
    notes = [
        *warnings(found.screen),
        *found.failed_fits,
        *left_out(found.potential, found.train),
    ]
    with _staging(root) as staging:
        predictions = _copy_potential(root, found.potential, staging, notes)
        _write_data(staging, plan, found, predictions, notes)
        _write_examples(staging, target, plan, found, notes)
        files = [*contents(staging), REPORT, SUMMARY]
        summary = summarize(plan, found, predictions, files, notes)
        write_json(staging / SUMMARY, to_json(summary))
        publish(staging, target, last=SUMMARY, stays=lambda name: name == REPORT)
    from mlip_autopipec.report import page  # matplotlib takes a second

    with _staging(root) as staging:
        atomic_write(staging / REPORT, page.render(plan, found, summary, predictions))
        publish(staging, target, stays=lambda _: True)
    return summary


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A folder beside the result, without what a kill left of earlier ones."""
    for leftover in root.glob(".result-*"):
        shutil.rmtree(leftover)
    folder = Path(tempfile.mkdtemp(prefix=".result-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_potential(
    root: Path, potential: PotentialRef | None, out: Path, notes: list[str]
) -> Predictions | None:
    """Copy the released potential; its ``predictions.json``, if there, comes back."""
    if potential is None:
        notes.append("no potential was trained")
        return None
    fit = out / FIT
    fit.mkdir()
    own = registry.trainer(potential.trainer).files()
    for name in (*own, METRICS, PREDICTIONS):
        source = root / potential.folder / name
        if source.is_file():
            shutil.copyfile(source, (fit if name in own else out) / name)
        elif name != BASELINE:  # potentials from before there were baselines have none
            notes.append(f"potential {potential.name} has no {name}")
    if (out / METRICS).is_file():  # by which a trainer knows what it could go on with
        shutil.copyfile(out / METRICS, fit / METRICS)
    sign(fit, potential.trainer, potential.elements)
    atomic_write(out / CALCULATOR, CALCULATOR_TEXT)
    stored = out / PREDICTIONS
    return Predictions.from_json(read_json(stored)) if stored.is_file() else None


def _write_data(
    out: Path, plan: Plan, found: Findings, predictions: Predictions | None, notes: list[str]
) -> None:
    # A fit that cross-validates predicts what it learned, too.
    learned = {row.name for row in predictions.train} if predictions else set()
    held_out = {row.name for row in predictions.test} - learned if predictions else set()
    weight = plan.embedding.energy_weight
    frames = training_frames(found.train, found.validate, held_out, weight, audit=found.audit)
    if frames:
        write(out / "training.extxyz", frames, format="extxyz")
    else:
        notes.append("nothing was labelled")


def _write_examples(out: Path, home: Path, plan: Plan, found: Findings, notes: list[str]) -> None:
    """``in.lammps``, ``structure.data`` and ``ase_example.py`` for an MD run that works as it
    stands.
    """
    if found.potential is None:
        return
    crystal = found.ground_state
    if crystal is None:
        whole = [item for item in (*found.validate, *found.train) if item.core is None]
        if not whole:
            notes.append("no MD example: there is no whole cell to start from")
            return
        lowest = min(whole, key=lambda item: item.label.energy_ev / len(item.atoms))
        notes.append(
            f"the MD example starts from the labelled cell of lowest energy, {lowest.name}"
        )
        crystal = lowest.atoms
    repeat = max(1, round((EXAMPLE_ATOMS / len(crystal)) ** (1 / 3)))
    try:
        from mlip_autopipec.science.lattices import md_cell

        if not crystal.pbc.any():  # one molecule is the system itself; it needs room to turn
            crystal, repeat = md_cell(crystal, len(crystal)), 1

        engine = registry.md_engine(plan.exploration.engine)
        if not isinstance(engine, WritesExamples):
            notes.append(f"no MD example: {plan.exploration.engine} writes none")
            return
        engine.write_examples(
            MdExample(
                potential=out / FIT,
                start=crystal.repeat(repeat),
                out=out,
                home=home,
                temperature_k=plan.exploration.conditions[0].temperature_k,
                elements=found.potential.elements,
                timestep_fs=min(1.0, plan.exploration.timestep_fs),
                gamma_select=plan.exploration.gamma_select,
            )
        )
    except Exception as error:
        # An hour of DFT must not be lost to an example: the failure is recorded where the user will
        # see it.
        notes.append(f"the MD example could not be written: {type(error).__name__}: {error}")
