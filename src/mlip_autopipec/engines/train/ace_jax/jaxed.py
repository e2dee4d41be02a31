"""The one door to ace-jax: threads, precision, and what to install where it is absent."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from mlip_autopipec.base.errors import MissingProgramError

__all__ = ["INSTALL", "environment", "require_package", "start"]

INSTALL = "pip install 'mlip-autopipec[ace]'"


def require_package() -> None:
    """MissingProgramError unless ace-jax can be imported (it is not imported here)."""
    if find_spec("ace_jax") is None:
        raise MissingProgramError("the Python package 'ace-jax'", INSTALL)


def environment(threads: int) -> dict[str, str]:
    """Variables that hold XLA to so many threads; it reads them when jax is imported."""
    if threads > 1:
        return {}
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def start() -> None:
    """Import jax in double precision; on one thread, unless somebody has imported it before."""
    require_package()
    if "jax" not in sys.modules:
        for name, value in environment(1).items():
            os.environ.setdefault(name, value)
    import jax

    jax.config.update("jax_enable_x64", True)
    # Compiling takes most of a small fit (20 of 24 s of CPU): what was compiled once is kept.
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(caches / "mlip-autopipec" / "jax"))
