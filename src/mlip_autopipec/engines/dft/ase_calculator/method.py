"""The method of an ASE calculator: where it is, its arguments, and the version of its package."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import Field, field_validator

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.section import complaint
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.dft.ase_calculator.run import INPUT, VERSION, JobFile, version_of
from mlip_autopipec.engines.dft_port import DftMethod, DftWishes, MethodChoice
from mlip_autopipec.science import label_set
from mlip_autopipec.science.label_set import LabelSet

__all__ = ["Method", "Wishes", "derive", "method_of", "prepared_job", "target_of"]

_NAME = "ase_calculator"
_FORM = "write module:attribute, for example tblite.ase:TBLite"


class Method(DftMethod):
    """``calculator``: ``module:attribute``; ``arguments`` as it is made with;
    ``calculator_version``: of its package, which is part of the physics.
    """

    identity: ClassVar[tuple[str, ...]] = ("calculator", "arguments", VERSION)
    worth_a_note: ClassVar[tuple[str, ...]] = ("spin_polarized",)
    unsaid: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"spin_polarized": False, "starting_moments": {}}
    )

    calculator: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    calculator_version: str | None = None
    spin_polarized: bool
    starting_moments: dict[str, float]

    @field_validator("calculator", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not value:
            raise complaint("calculator is missing", _FORM)
        return value

    def in_words(self) -> str:
        given = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.calculator}({given}) of {self.calculator_version or 'no package'}"

    def wishes_again(self, given: Mapping[str, Any]) -> Json:
        """Arguments stay with their calculator."""
        if given.get("calculator", self.calculator) != self.calculator:
            return dict(given)
        return {"calculator": self.calculator, "arguments": self.arguments, **given}


class Wishes(DftWishes):
    """The calculator, and how it is made; spin where the derived one is not wanted."""

    calculator: str | None = Field(None, validate_default=True)
    arguments: dict[str, Any] = Field(default_factory=dict)
    spin_polarized: bool | None = None
    starting_moments: dict[str, float] | None = None

    @field_validator("calculator")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if not value:
            raise complaint(f"the engine {_NAME} needs a calculator", _FORM)
        return value


def derive(needed: LabelSet, wishes: Wishes) -> MethodChoice:
    """Only spin is derived; the version is that of the package which is installed here.

    Raises InputError for a calculator that is not of the form ``module:attribute``, or arguments
    without a JSON form.
    """
    moments = label_set.starting_moments(needed)
    starting = moments.value if wishes.starting_moments is None else wishes.starting_moments
    spin = bool(starting) if wishes.spin_polarized is None else wishes.spin_polarized
    method = Method(
        calculator=str(wishes.calculator),
        arguments=wishes.arguments,
        calculator_version=_version(str(wishes.calculator), wishes.arguments),
        spin_polarized=spin,
        starting_moments=starting,
    )
    reasons = {
        "calculator": "given",
        "arguments": "given" if wishes.arguments else "none given",
        VERSION: "of the package that is installed here; another one is another method",
        "spin_polarized": moments.reason if wishes.spin_polarized is None else "given",
        "starting_moments": moments.reason if wishes.starting_moments is None else "given",
    }
    return MethodChoice(method, reasons)


def method_of(calculator: str, arguments: Mapping[str, Any] | None = None) -> Json:
    """The method of a calculator at ``module:attribute`` with the version of the package it comes
    from.

    Raises InputError when ``calculator`` is not of that form or its arguments have no JSON form.
    """
    given = dict(arguments or {})
    version = _version(calculator, given)
    method = {"engine": _NAME, "calculator": calculator, "arguments": given}
    return {**method, **({VERSION: version} if version else {})}


def _version(calculator: str, arguments: Mapping[str, Any]) -> str | None:
    """``package version`` of a calculator; raises as :func:`method_of`."""
    try:
        json.dumps(arguments)
    except TypeError as error:
        raise InputError(
            "arguments of the calculator must be plain values", key="arguments", hint=str(error)
        ) from None
    return version_of(target_of(calculator).partition(":")[0])


def target_of(target: str) -> str:
    """``target``, which is ``module:attribute``; InputError where it is not."""
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise InputError(
            "no import path of an ASE calculator", key="calculator", value=target, hint=_FORM
        )
    return target


def prepared_job(job: LabelJob, cores: int) -> Prepared:
    """The job file and the command of the child process; ``cores`` become threads.

    Raises InputError.
    """
    method = Method.of_job(job)
    content = JobFile(
        calculator=target_of(method.calculator),
        arguments=method.arguments,
        calculator_version=method.calculator_version,
        moments=method.starting_moments,
        atoms=atoms_to_json(job.atoms),
    )
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(cores)
    )
    return Prepared(
        files={INPUT: json.dumps(asdict(content), indent=1)},
        command=(sys.executable, "-m", "mlip_autopipec.engines.dft.ase_calculator.run"),
        env=threads,
    )
