"""Molecules by name, by SMILES or from a file: geometries in a box, ready to be relaxed.

Names are those of the G2 collection in ASE (Curtiss et al., J. Chem. Phys. 106, 1063, 1997),
formulas as ``H2O`` or ``CH3CH2OH``, and the usual words for them. Everything else is read as SMILES
by RDKit, which also gives conformers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.science.generation.context import in_a_box
from mlip_autopipec.science.reading import read_start

__all__ = ["conformers", "formula_of", "is_molecular", "one_geometry"]

INSTALL = "pip install 'mlip-autopipec[molecules]'"
SMILES = "smiles:"

# ETKDG embeddings that are tried, and how far (Å, heavy atoms) conformers must differ to count as
# two.
EMBEDDINGS, DISTINCT_RMS_A = 20, 0.5
# Elements of which compounds in the G2 collection are molecules also in their everyday form (water,
# not NaCl or AlF3).
_MOLECULAR = frozenset({"H", "C", "N", "O", "F", "P", "S", "Cl"})

#: Everyday words -> names in the G2 collection.
WORDS = {
    "water": "H2O",
    "hydrogen": "H2",
    "nitrogen": "N2",
    "oxygen": "O2",
    "ozone": "O3",
    "fluorine": "F2",
    "chlorine": "Cl2",
    "ammonia": "NH3",
    "hydrazine": "N2H4",
    "hydrogen peroxide": "H2O2",
    "carbon monoxide": "CO",
    "carbon dioxide": "CO2",
    "carbon disulfide": "CS2",
    "nitrous oxide": "N2O",
    "nitric oxide": "NO",
    "nitrogen dioxide": "NO2",
    "sulfur dioxide": "SO2",
    "hydrogen fluoride": "HF",
    "hydrogen chloride": "HCl",
    "hydrogen cyanide": "HCN",
    "hydrogen sulfide": "SH2",
    "phosphine": "PH3",
    "silane": "SiH4",
    "disilane": "Si2H6",
    "methane": "CH4",
    "ethane": "C2H6",
    "propane": "C3H8",
    "butane": "trans-butane",
    "isobutane": "isobutane",
    "ethylene": "C2H4",
    "ethene": "C2H4",
    "propene": "C3H6_Cs",
    "acetylene": "C2H2",
    "ethyne": "C2H2",
    "allene": "C3H4_D2d",
    "propyne": "C3H4_C3v",
    "butadiene": "butadiene",
    "cyclopropane": "C3H6_D3h",
    "cyclobutane": "cyclobutane",
    "benzene": "C6H6",
    "pyridine": "C5H5N",
    "furan": "C4H4O",
    "pyrrole": "C4H4NH",
    "thiophene": "C4H4S",
    "methanol": "CH3OH",
    "ethanol": "CH3CH2OH",
    "isopropanol": "C2H6CHOH",
    "2-propanol": "C2H6CHOH",
    "dimethyl ether": "CH3OCH3",
    "formaldehyde": "H2CO",
    "acetaldehyde": "CH3CHO",
    "acetone": "CH3COCH3",
    "formic acid": "HCOOH",
    "acetic acid": "CH3COOH",
    "methyl formate": "HCOOCH3",
    "glyoxal": "OCHCHO",
    "ketene": "H2CCO",
    "oxirane": "CH2OCH2",
    "ethylene oxide": "CH2OCH2",
    "methylamine": "H3CNH2",
    "ethylamine": "CH3CH2NH2",
    "acetamide": "CH3CONH2",
    "acetonitrile": "CH3CN",
    "nitromethane": "CH3NO2",
    "chloromethane": "CH3Cl",
    "chloroform": "HCCl3",
    "carbon tetrachloride": "CCl4",
    "dimethyl sulfoxide": "C2H6SO",
    "dmso": "C2H6SO",
    "methanethiol": "CH3SH",
}
_EVERYDAY_FORMULAS = {"H2S": "SH2", "C2H5OH": "CH3CH2OH", "C2H6O": "CH3CH2OH", "CHCl3": "HCCl3"}


def is_molecular(formula: str) -> bool:
    """Whether a formula is that of a known molecule of non-metals, which no crystal prototype
    describes: H2O, CO2.
    """
    symbols = set(re.findall(r"[A-Z][a-z]?", formula))
    return symbols <= _MOLECULAR and _known_name(formula) is not None


def formula_of(text: str, *, file: str | Path | None = None) -> dict[str, int]:
    """Element -> number of atoms of a molecule. Raises as :func:`one_geometry` does."""
    found: dict[str, int] = {
        str(symbol): int(n)
        for symbol, n in one_geometry(text, file=file).symbols.formula.count().items()
    }
    return found


def one_geometry(text: str, *, file: str | Path | None = None) -> Atoms:
    """The first of :func:`conformers`, for a look at the molecule."""
    return conformers(text, seed=1, most=1, file=file)[0]


def conformers(
    text: str, *, seed: int, most: int = 10, file: str | Path | None = None
) -> list[Atoms]:
    """Geometries of the molecule that a user calls ``text``, each in its box, without periodicity.

    ``text``: the path of a file (all its frames), a name or formula that the G2 collection knows
    (one geometry), else SMILES (at most ``most`` conformers, ETKDGv3 and MMFF94, equal seeds give
    equal ones); ``smiles:CO`` is never taken for a name. ``file``: the input file, for the message.
    Raises InputError for what is none of these, MissingProgramError when RDKit is needed and not
    installed.
    """
    path = Path(text)
    if path.is_file():
        frames = read_start(path, file=file, key="molecule", lattice=False)
        return [in_a_box(frame) for frame in frames]
    known = None if text.startswith(SMILES) else _known_name(text)
    if known is None:
        return _from_smiles(text.removeprefix(SMILES), seed, most, file)
    from ase.build import molecule

    return [in_a_box(molecule(known))]


def _known_name(text: str) -> str | None:
    """The G2 name of a molecule of at least two atoms, else None.

    ``O`` is no oxygen atom but SMILES for water.
    """
    from ase.collections import g2

    word = WORDS.get(text.strip().lower()) or _EVERYDAY_FORMULAS.get(text.strip()) or text.strip()
    return word if word in g2.names and len(g2[word]) > 1 else None


def _from_smiles(text: str, seed: int, most: int, file: str | Path | None) -> list[Atoms]:
    if not re.fullmatch(r"[A-Za-z0-9@+\-\[\]()=#$:/\\.%*]+", text):
        raise _unknown(text, file)
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem import AllChem
    except ModuleNotFoundError as error:
        raise MissingProgramError(
            f"{text!r} is no molecule that ASE knows by name; to read it as SMILES, the Python"
            " package 'rdkit'",
            INSTALL,
        ) from error
    toolkit: Any = AllChem
    quiet = rdBase.BlockLogs()  # its complaints go to standard error; ours is the exception
    bare: Any = Chem.MolFromSmiles(text)
    del quiet
    if bare is None or not bare.GetNumAtoms():
        raise _unknown(text, file)
    if len(Chem.GetMolFrags(bare)) > 1:
        raise InputError(
            "is more than one molecule",
            file=file,
            key="molecule",
            value=text,
            hint="give one, or a structure file",
        )
    if Chem.GetFormalCharge(bare):
        raise InputError(
            "is an ion: only neutral molecules can be calculated",
            file=file,
            key="molecule",
            value=text,
        )
    full: Any = Chem.AddHs(bare)
    rules = toolkit.ETKDGv3()
    rules.randomSeed, rules.pruneRmsThresh = seed, DISTINCT_RMS_A
    found = list(toolkit.EmbedMultipleConfs(full, EMBEDDINGS, rules))
    if not found:
        rules.useRandomCoords = True
        found = list(toolkit.EmbedMultipleConfs(full, EMBEDDINGS, rules))
    if not found:
        raise InputError(
            "RDKit finds no geometry for it",
            file=file,
            key="molecule",
            value=text,
            hint="give a structure file",
        )
    energies = _force_field(toolkit, full, len(found))
    symbols = [atom.GetSymbol() for atom in full.GetAtoms()]
    order = np.argsort(energies, kind="stable")[:most]
    return [
        in_a_box(Atoms(symbols, full.GetConformer(int(found[index])).GetPositions()))
        for index in order
    ]


def _force_field(toolkit: Any, molecule: Any, number: int) -> list[float]:
    """Conformers relaxed in place; their energies (kcal/mol), all zero for elements that MMFF94
    lacks.
    """
    if not toolkit.MMFFHasAllMoleculeParams(molecule):
        return [0.0] * number
    return [
        float(energy) for _, energy in toolkit.MMFFOptimizeMoleculeConfs(molecule, numThreads=1)
    ]


def _unknown(text: str, file: str | Path | None) -> InputError:
    import difflib

    close = difflib.get_close_matches(text.lower(), WORDS, n=1, cutoff=0.7)
    hint = (
        f"did you mean {close[0]!r}?"
        if close
        else "write a name (ethanol), a formula (H2O), SMILES (CCO) or a file"
    )
    return InputError("no such molecule", file=file, key="molecule", value=text, hint=hint)
