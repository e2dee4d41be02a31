"""The method of Quantum ESPRESSO: its settings, and how they follow from what is to be labelled.

Cutoffs: the largest over all elements. k-point spacing: the densest that any periodic structure
needs, because labels of one set must share it. Cold smearing where all are metals, Gaussian
otherwise. Spin where an element is magnetic, a structure is pure oxygen or says its moments, and
where a molecule has an odd number of electrons. Dispersion where layers or molecules are held by
it. +U, charge and fragments of the code's own input where asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.section import Positive
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.engines.dft.quantum_espresso.asked import (
    FUNCTIONALS,
    Dispersion,
    Isolated,
    MagneticOrder,
    Occupations,
    Smearing,
    Wishes,
)
from mlip_autopipec.engines.dft.quantum_espresso.hubbard import Projectors
from mlip_autopipec.engines.dft_port import DftMethod, Knob, MethodChoice
from mlip_autopipec.science import dft_rules, label_set
from mlip_autopipec.science.dft_limits import limits_of
from mlip_autopipec.science.dft_rules import Choice, Composition
from mlip_autopipec.science.dft_series import cutoffs_to_try_ry, spacings_to_try_per_a
from mlip_autopipec.science.label_set import LabelSet

__all__ = ["CHOSEN", "LATER", "Method", "check_family", "derive", "hardness_ry", "knobs", "least"]

T = TypeVar("T")

CHOSEN = ("cutoff_ry", "rho_cutoff_ry", "kspacing_per_a")
"""Settings that a convergence series fixes."""

_NO_IMAGES = (
    "no images: forces in a box with 4 Å around ethanol are then as good as with 6 Å, at a third of"
    " the cost"
)

# Of the density cutoff that a family asks for. Convergence series stay above; 4 times the cutoff of
# the wave functions, what norm-conserving families need, is half of it or less.
_LEAST_DENSITY = 0.6
_D3 = (
    "layers or molecules are held by dispersion, which PBE lacks: D3(BJ) adds it; 'none' leaves it"
    " out"
)


class Method(DftMethod):
    """Everything that changes the physics of pw.x. Numerical settings are left out.

    ``isolated``: how images of a molecule in its box are taken out of the potential. ``input_dft``:
    a functional in place of the pseudopotentials' own, in pw.x's word. ``hubbard``: U in eV of each
    shell. ``charge``: of every cell, in elementary charges, but for free atoms.
    ``dipole_correction``: in the vacuum of slabs. ``magnetic_order``: of the moments that atoms
    start from where their structure says nothing. ``extra``: see :mod:`fragment`. All these are
    left out of the JSON where they say nothing.
    """

    identity: ClassVar[tuple[str, ...]] = ("pseudo_family",)
    worth_a_note: ClassVar[tuple[str, ...]] = (
        "kspacing_per_a",
        "kmesh_shifted",
        "smearing",
        "spin_polarized",
    )
    unsaid: ClassVar[Mapping[str, Any]] = MappingProxyType({"pseudo_sha256": {}})

    functional: str
    pseudo_family: str
    pseudos: dict[str, str]
    pseudo_sha256: dict[str, str]
    cutoff_ry: Positive
    rho_cutoff_ry: Positive
    kspacing_per_a: Positive
    kmesh_shifted: bool
    occupations: Occupations = "smearing"
    smearing: Smearing
    degauss_ry: Positive
    spin_polarized: bool
    starting_moments: dict[str, float]
    isolated: Isolated = "none"
    conv_thr_ry_per_atom: Positive = 1e-9
    input_dft: str = ""
    dispersion: Dispersion = "none"
    hubbard: dict[str, float] = Field(default_factory=dict)
    hubbard_projectors: Projectors = "atomic"
    charge: int = 0
    dipole_correction: bool = False
    magnetic_order: MagneticOrder = "ferro"
    extra: str = ""

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        return {
            key: value for key, value in data.items() if key not in LATER or value != LATER[key]
        }

    def in_words(self) -> str:
        spin = ", spin-polarised" if self.spin_polarized else ""
        spin += ", antiferromagnetic" if self.magnetic_order == "antiferro" else ""
        more = [f"U of {key} {value:g} eV" for key, value in self.hubbard.items()]
        more += [_D3_NAMES[self.dispersion]] if self.dispersion != "none" else []
        more += [f"charge {self.charge:+d}"] if self.charge else []
        more += ["dipole correction"] if self.dipole_correction else []
        more += ["a fragment of pw.x's input"] if self.extra else []
        mesh = "shifted" if self.kmesh_shifted else "Gamma-centred"
        return (
            f"{self.functional}, {self.cutoff_ry:g}/{self.rho_cutoff_ry:g} Ry, k-points every"
            f" {self.kspacing_per_a:g} 1/Å ({mesh}), {self.smearing} {self.degauss_ry:g} Ry{spin}"
            + "".join(f", {word}" for word in more)
        )

    def wishes_again(self, given: Mapping[str, Any]) -> Json:
        return {"family": self.pseudo_family, **given}

    def kmesh(
        self, cell: FloatArray, periodic: tuple[bool, bool, bool]
    ) -> tuple[int, int, int] | None:
        return dft_rules.kmesh(cell, periodic, self.kspacing_per_a, self.kmesh_shifted)


#: Fields that came after the first labels, and what they are where a method does not name them.
LATER: Mapping[str, Any] = MappingProxyType(
    {
        "isolated": "none",
        "input_dft": "",
        "dispersion": "none",
        "hubbard": {},
        "hubbard_projectors": "atomic",
        "charge": 0,
        "dipole_correction": False,
        "magnetic_order": "ferro",
        "extra": "",
    }
)
_D3_NAMES = {"d3": "D3 dispersion", "d3bj": "D3(BJ) dispersion"}


def derive(needed: LabelSet, wishes: Wishes) -> MethodChoice:
    """The method that serves all of ``needed``, and why.

    Raises InputError for an unknown family, and for an element that the family lacks.
    """
    reasons: dict[str, str] = {}
    family = wishes.family or _family_for(wishes, needed.elements)
    facts = pseudos.family_facts(family)
    _check_elements(needed, wishes)
    hints = {element: pseudos.cutoffs(family, element) for element in needed.elements}

    def because(key: str, value: T, reason: str) -> T:
        given = getattr(wishes, key, None)
        reasons[key] = reason if given is None else f"given, instead of {_short(value)}: {reason}"
        return value if given is None else given

    def chosen(key: str, choice: Choice[T]) -> T:
        return because(key, choice.value, choice.reason)

    cutoff_ry = chosen("cutoff_ry", dft_rules.wavefunction_cutoff_ry(hints))
    density_ry = pseudos.density_cutoffs_ry(family, needed.elements)
    smearing = label_set.smearing(needed)
    moments = chosen("starting_moments", label_set.starting_moments(needed))
    spin = _spin(needed, moments, wishes.charge or 0, reasons["starting_moments"])
    method = Method(
        functional=because("functional", facts.functional, _and_limits(needed)),
        input_dft=_input_dft(facts.functional, wishes, reasons),
        pseudo_family=because(
            "pseudo_family", family, "one family and version for all labels: they share one method"
        ),
        pseudos=because(
            "pseudos", {e: f"{e}.upf" for e in needed.elements}, "see: mlip-auto pseudos list"
        ),
        pseudo_sha256=because(
            "pseudo_sha256",
            {e: facts.elements[e].sha256 for e in needed.elements},
            "checked before every run",
        ),
        cutoff_ry=cutoff_ry,
        rho_cutoff_ry=chosen(
            "rho_cutoff_ry", dft_rules.rho_cutoff_ry(cutoff_ry, facts.dual, density_ry)
        ),
        kspacing_per_a=chosen("kspacing_per_a", label_set.kspacing_per_a(needed)),
        kmesh_shifted=chosen("kmesh_shifted", label_set.kmesh_shifted(needed)),
        occupations=because("occupations", "smearing", "melts and defects close gaps"),
        smearing=because("smearing", smearing.value[0], smearing.reason),
        degauss_ry=because("degauss_ry", smearing.value[1], smearing.reason),
        spin_polarized=chosen("spin_polarized", spin),
        starting_moments=moments,
        isolated=_isolated(needed, wishes, reasons),
        conv_thr_ry_per_atom=because(
            "conv_thr_ry_per_atom", 1e-9, "forces exact to 0.2 meV/Å or better"
        ),
        **_later(needed, wishes, reasons),
    )
    return MethodChoice(method, reasons)


def _and_limits(needed: LabelSet) -> str:
    """Why this functional, and what it leaves out of the material."""
    compositions: list[Composition] = [kind.composition for kind in needed.kinds]
    compositions = compositions or [needed.elements]
    limits = dict.fromkeys(one for found in compositions for one in limits_of(found))
    return "; ".join(["the family's functional", *limits])


def check_family(method: Method, elements: Iterable[str]) -> None:
    """Raises InputError where functional, checksums or density cutoff are not the family's: one of
    them was changed without the others.
    """
    wanted = sorted(elements)
    facts = pseudos.family_facts(method.pseudo_family)
    hint = f"set dft.family in input.yaml: all that depends on {method.pseudo_family} follows"
    if not method.input_dft and method.functional.upper() != facts.functional.upper():
        raise InputError(
            f"the pseudopotentials of {method.pseudo_family} are {facts.functional}'s",
            key="dft.method.functional",
            value=method.functional,
            hint=hint,
        )
    needed = pseudos.density_cutoffs_ry(method.pseudo_family, wanted)
    hardest = max(needed, key=lambda symbol: needed[symbol], default=None)
    if hardest and method.rho_cutoff_ry < _LEAST_DENSITY * needed[hardest]:
        raise InputError(
            f"{hardest} of {method.pseudo_family} needs {needed[hardest]:g} Ry for its density",
            key="dft.method.rho_cutoff_ry",
            value=method.rho_cutoff_ry,
            hint=hint,
        )


def _later(needed: LabelSet, wishes: Wishes, reasons: dict[str, str]) -> dict[str, Any]:
    """The fields that a method names only where they say something, and why they do."""
    found: dict[str, Any] = {}
    derived: dict[str, tuple[Any, str]] = {}
    if any(kind.held_by_dispersion for kind in needed.kinds):
        derived["dispersion"] = "d3bj", _D3
    if any(kind.is_slab for kind in needed.kinds):
        derived["dipole_correction"] = True, "slabs may have a dipole, which images would feel"
    for key in LATER:
        if key in ("isolated", "input_dft"):
            continue
        value = getattr(wishes, key)
        default, reason = derived.get(key, (LATER[key], ""))
        if value is not None:
            found[key] = value
            if value != LATER[key] or key in derived:
                reasons[key] = f"given, instead of {default}: {reason}" if reason else "given"
        elif key in derived:
            found[key], reasons[key] = default, reason
    return found


def _spin(needed: LabelSet, moments: Mapping[str, float], charge: int, why: str) -> Choice[bool]:
    """``why``: the reason for the ``moments`` that elements start from."""
    if any(kind.moments_given for kind in needed.kinds):
        return Choice(True, "the structures say which moments they start from")
    if any(moments.values()):
        return Choice(True, why)
    odd = [kind for kind in needed.molecules if kind.odd_electrons is (charge % 2 == 0)]
    if odd:
        formula = "".join(f"{s}{n:g}" if n != 1 else s for s, n in odd[0].composition.items())
        return Choice(True, f"{formula} has an odd number of electrons")
    return Choice(
        False, f"{why}; free atoms, pairs and odd numbers of electrons have spin all the same"
    )


def _check_elements(needed: LabelSet, wishes: Wishes) -> None:
    """Raises InputError for a U of what is not there."""
    for key in wishes.hubbard or {}:
        if key.partition("-")[0] not in needed.elements:
            raise InputError(
                "U of an element that is not there",
                key="hubbard",
                value=key,
                hint=f"the elements are {', '.join(needed.elements)}",
            )


def _family_for(wishes: Wishes, elements: Iterable[str]) -> str:
    """The usual family, or one that was made for the functional that is asked for."""
    wanted = wishes.functional
    usual = pseudos.DEFAULT_FAMILY
    if wanted is None or pseudos.family_facts(usual).functional == wanted:
        return usual
    return next(iter(pseudos.families_with(elements, wanted)), usual)


def _input_dft(own: str, wishes: Wishes, reasons: dict[str, str]) -> str:
    """pw.x's word for a functional that the pseudopotentials were not made for."""
    if wishes.functional is None or wishes.functional.upper() == own.upper():
        return ""
    reasons["input_dft"] = (
        f"given: the pseudopotentials were made for {own}, and are used with {wishes.functional}"
    )
    return FUNCTIONALS[wishes.functional]


def _isolated(needed: LabelSet, wishes: Wishes, reasons: dict[str, str]) -> Isolated:
    """Images are taken out where there is nothing but molecules in boxes of our own making."""
    if wishes.isolated is not None:
        if wishes.isolated != "none":
            reasons["isolated"] = "given"
        return wishes.isolated
    if not needed.own_boxes or needed.crystals:
        return "none"
    reasons["isolated"] = _NO_IMAGES
    return "martyna_tuckerman"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def knobs(
    method: Method, elements: Iterable[str], periodic: tuple[bool, bool, bool]
) -> tuple[Knob, ...]:
    """Cutoff, then k-points. The reference cutoff passes the family's high hint for the hardest
    element; what is not periodic has no k-points.
    """
    hardest = max(pseudos.cutoffs(method.pseudo_family, element)[2] for element in elements)
    cutoff = Knob(
        "cutoff_ry",
        tuple(cutoffs_to_try_ry(method.cutoff_ry, hardest)),
        "plane-wave cutoff (Ry)",
        "Ry",
        {"rho_cutoff_ry": method.rho_cutoff_ry / method.cutoff_ry},
    )
    if not any(periodic):
        return (cutoff,)
    spacings = tuple(spacings_to_try_per_a(method.kspacing_per_a))
    return cutoff, Knob("kspacing_per_a", spacings, "k-point spacing (1/Å)", "1/Å")


def least(method: Method, rest: LabelSet) -> dict[str, tuple[float, str]]:
    """Cutoff (Ry) of further elements and k-point spacing (1/Å) of further crystals."""
    found: dict[str, tuple[float, str]] = {}
    if rest.elements:
        cutoff = dft_rules.wavefunction_cutoff_ry(
            {one: pseudos.cutoffs(method.pseudo_family, one) for one in rest.elements}
        )
        found["cutoff_ry"] = cutoff.value, cutoff.reason
    if rest.crystals:
        spacing = label_set.kspacing_per_a(rest)
        found["kspacing_per_a"] = spacing.value, spacing.reason
    return found


def hardness_ry(method: Method, symbol: str) -> float:
    """The family's normal hint for an element."""
    return pseudos.cutoffs(method.pseudo_family, symbol)[1]
