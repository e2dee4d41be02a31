"""The method of Quantum ESPRESSO: its settings, and how they follow from what is to be labelled.

Cutoffs: the largest over all elements. k-point spacing: the densest that any periodic structure
needs, because labels of one set must share it. Cold smearing where all are metals, Gaussian
otherwise. Spin where an element is magnetic, or a structure is pure oxygen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer

from mlip_autopipec.base.section import Positive, complaint
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.engines.dft_port import DftMethod, DftWishes, Knob, MethodChoice
from mlip_autopipec.science import dft_rules, label_set
from mlip_autopipec.science.dft_rules import Choice
from mlip_autopipec.science.dft_series import cutoffs_to_try_ry, spacings_to_try_per_a
from mlip_autopipec.science.label_set import LabelSet

__all__ = ["CHOSEN", "Method", "Wishes", "derive", "hardness_ry", "knobs", "least"]

T = TypeVar("T")

CHOSEN = ("cutoff_ry", "rho_cutoff_ry", "kspacing_per_a")
"""Settings that a convergence series fixes."""

_NO_IMAGES = (
    "no images: forces in a box with 4 Å around ethanol are then as good as with 6 Å, at a third of"
    " the cost"
)

Occupations = Literal["smearing", "fixed"]
Smearing = Literal["mv", "gaussian", "fd", "mp"]
Isolated = Literal["none", "martyna_tuckerman"]


class Method(DftMethod):
    """Everything that changes the physics of pw.x. Numerical settings are left out.

    ``isolated``: how images of a molecule in its box are taken out of the potential; left out of
    the JSON where they are not.
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

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        return {key: value for key, value in data.items() if (key, value) != ("isolated", "none")}

    def in_words(self) -> str:
        spin = ", spin-polarised" if self.spin_polarized else ""
        mesh = "shifted" if self.kmesh_shifted else "Gamma-centred"
        return (
            f"{self.functional}, {self.cutoff_ry:g}/{self.rho_cutoff_ry:g} Ry, k-points every"
            f" {self.kspacing_per_a:g} 1/Å ({mesh}), {self.smearing} {self.degauss_ry:g} Ry{spin}"
        )

    def wishes_again(self, given: Mapping[str, Any]) -> Json:
        return {"family": self.pseudo_family, **given}

    def kmesh(
        self, cell: FloatArray, periodic: tuple[bool, bool, bool]
    ) -> tuple[int, int, int] | None:
        return dft_rules.kmesh(cell, periodic, self.kspacing_per_a, self.kmesh_shifted)


class Wishes(DftWishes):
    """Settings in place of derived ones; ``family`` of pseudopotentials."""

    family: str | None = None
    cutoff_ry: float | None = None
    rho_cutoff_ry: Positive | None = None
    kspacing_per_a: float | None = None
    kmesh_shifted: bool | None = None
    occupations: Occupations | None = None
    smearing: Smearing | None = None
    degauss_ry: Positive | None = None
    spin_polarized: bool | None = None
    starting_moments: dict[str, float] | None = None
    isolated: Isolated | None = None
    conv_thr_ry_per_atom: Positive | None = None

    @field_validator("cutoff_ry")
    @classmethod
    def _usual_cutoff(cls, value: float | None) -> float | None:
        if value is not None and not 10.0 <= value <= 400.0:
            raise complaint("impossible cutoff", "10 to 400 Ry; leave it out to have it derived")
        return value

    @field_validator("kspacing_per_a")
    @classmethod
    def _usual_spacing(cls, value: float | None) -> float | None:
        if value is not None and not 0.05 <= value <= 2.0:
            raise complaint(
                "impossible k-point spacing", "0.05 to 2 1/Å; leave it out to have it derived"
            )
        return value


def derive(needed: LabelSet, wishes: Wishes) -> MethodChoice:
    """The method that serves all of ``needed``, and why.

    Raises InputError for an unknown family, and for an element that the family lacks.
    """
    reasons: dict[str, str] = {}
    family = wishes.family or pseudos.DEFAULT_FAMILY
    facts = pseudos.family_facts(family)
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
    method = Method(
        functional=because("functional", facts.functional, "the family's functional"),
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
        spin_polarized=because("spin_polarized", bool(moments), reasons["starting_moments"]),
        starting_moments=moments,
        isolated=_isolated(needed, wishes, reasons),
        conv_thr_ry_per_atom=because(
            "conv_thr_ry_per_atom", 1e-9, "forces exact to 0.2 meV/Å or better"
        ),
    )
    return MethodChoice(method, reasons)


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
