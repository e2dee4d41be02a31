"""The report: every figure and number of the run on one page that needs nothing else, and honest
gaps.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from parsed_page import Page
from result_examples import campaign, predictions_of, screen, validation

from mlip_autopipec.base.files import read_json
from mlip_autopipec.report import plots
from mlip_autopipec.report.findings import Findings
from mlip_autopipec.report.result_folder import write_result
from mlip_autopipec.report.rows import (
    PotentialRow,
)
from mlip_autopipec.science.predictions import Errors, Predictions
from mlip_autopipec.testing import simulated_plan

FIGURES = (
    "Parity",
    "Learning curve",
    "Equation of state",
    "Extrapolation grades",
    "Force masks",
    "DFT spend",
    "Timeline",
)


def page_of(root: Path, found: Findings) -> Page:
    write_result(root, simulated_plan(), found)
    return Page((root / "result/report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def page(root) -> Page:
    return page_of(root, campaign(root))


def svg_texts(image: dict) -> str:
    root = ElementTree.fromstring(base64.b64decode(image["src"].split(",")[1]))
    return " ".join(
        "".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")
    )


def test_the_licence_of_what_made_the_potential_is_told(page, root):
    licence = "Academic Software Licence, non-commercial (python-ace)"
    assert read_json(root / "result/summary.json")["licence"] == licence
    assert licence in (root / "result/report.html").read_text(encoding="utf-8")


def test_every_figure_is_there_inline_and_described(page):
    assert [image["alt"].split(".")[0] for image in page.images] == list(FIGURES)
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.images)
    assert "Not available" not in page.text


def test_the_page_needs_nothing_from_elsewhere(root, page):
    text = (root / "result/report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|<script|<link""", text)


@pytest.mark.parametrize(
    ("figure", "units"),
    [
        ("Parity", ["eV/atom", "eV/Å", "held out"]),
        ("Learning curve", ["meV/atom", "meV/Å", "labelled structures", "target"]),
        ("Equation of state", ["Å³/atom", "meV/atom", "DFT"]),
        ("Extrapolation grades", ["no unit", "select = 3", "break = 10", "001-abc"]),
        ("Force masks", ["atoms", "core", "buffer"]),
        ("DFT spend", ["DFT calculations started", "validation", "failed"]),
        ("Timeline", ["minutes", "DFT", "training", "MD"]),
    ],
)
def test_every_axis_has_its_unit(page, figure, units):
    text = svg_texts(page.images[FIGURES.index(figure)])
    for unit in units:
        assert unit in text


def test_numbers_of_the_run_are_on_the_page(page):
    for part in (
        "Stopped at the budget, not converged.",
        "20 of 20 DFT calls used",
        "20 DFT calculations of at most 80",
        "25 minutes",
        "expected about 18 calculations and 31 minutes; a label took 1.2 times",
        "3.2",
        "71.5",
        "3.5920 Å",
        "3.5900 Å",
        "-4.90 %",
        "scf_not_converged",
        "mixing_beta=0.3",
        "iterations <stopping>",
        "MD at 900K is not explored",
        "Capacity limits this potential",
        "300K asked yes (0 of 40 unknown) 6 3.2 (2.13 to 4.8) 71.5 (59.6 to 85.8)",
        "900K asked no (7 of 40 unknown) 0 not known not known",
        "rattle 6 3.2 (2.13 to 4.8) 71.5 (59.6 to 85.8)",
        "rattle, held out",
        "cutout, training",
        "Of 60 proposed structures 51 passed the screen by chgnet",
        "7 of 8 as promised",
        "0 of 1 wrongly rejected",
        "0.934",
        "It ranks this material",
        "equation_of_state",
        "pw.x",
    ):
        assert part in page.text, part


def test_a_missed_target_is_said_to_be_missed(tmp_path):
    text = page_of(tmp_path, campaign(tmp_path, released="000-abc")).text
    assert re.search(r"force RMSE at 300K, at most 180 meV/Å at most 100 meV/Å not met", text)


def test_a_poor_surrogate_is_said_to_be_poor(tmp_path):
    poor = screen(force_correlation=0.41, geometry_only=True)
    text = page_of(tmp_path, campaign(tmp_path, screen=poor)).text
    assert "It does not rank this material" in text and "correlated by 0.41" in text


def test_a_run_that_made_nothing_says_so(tmp_path):
    page = page_of(tmp_path, Findings("needs_attention", "pw.x is missing", 2.0, 0))
    assert not page.images
    for part in (
        "a person must act",
        "pw.x is missing",
        "no potential was trained",
        "no potential was validated",
        "no DFT calculation was started",
        "No MD was run",
        "Nothing was labelled",
        "not known",
    ):
        assert part in page.text, part
    assert "nan" not in page.text.lower().split()


def test_a_potential_without_a_minimum_has_its_reason_on_the_page(tmp_path):
    found = validation()
    found["bulk_modulus_gpa"]["potential"] = found["lattice_constant_a"]["potential"] = None
    found["eos"]["fits"]["potential"] = {"failure": "the energy has its minimum nowhere"}
    page = page_of(tmp_path, campaign(tmp_path, validation=found))
    assert "the energy has its minimum nowhere" in page.text


def test_user_text_cannot_break_the_page(tmp_path):
    page = page_of(tmp_path, campaign(tmp_path, reason="<b>unbalanced & dangerous"))
    assert "<b>unbalanced & dangerous" in page.text


def test_figures_without_data_are_none():
    assert plots.parity(None) is None
    assert plots.parity(Predictions()) is None
    assert plots.learning_curve([], None, None) is None
    assert plots.gamma_histogram({"000": []}, 3.0, 10.0) is None
    assert plots.spend({"no label": plots.Spend()}) is None
    assert plots.timeline([]) is None
    assert plots.force_masks([]) is None


def test_parity_leaves_masked_energies_out(tmp_path):
    drawn = plots.parity(Predictions(predictions_of(campaign(tmp_path).train, 0.01)))
    assert drawn is not None
    assert "training (8 cells)" in drawn


def test_learning_curve_bears_unknown_errors():
    row = PotentialRow(
        name="000", trainer="linear", labels=5, train=Errors(force_rmse_mev_per_a=10.0)
    )
    assert plots.learning_curve([row], None, 100.0) is not None
