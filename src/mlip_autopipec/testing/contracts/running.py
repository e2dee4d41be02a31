"""How the suites run what an engine has prepared."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mlip_autopipec.base.process import Prepared

__all__ = ["execute"]


def execute(prepared: Prepared, folder: Path) -> int:
    """Write the files and run the command in ``folder``."""
    for name, content in prepared.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    for name, source in prepared.links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(source)
    with (folder / prepared.stdout).open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        return subprocess.run(
            prepared.command,
            cwd=folder,
            stdout=out,
            stderr=err,
            env={**os.environ, **prepared.env},
            check=False,
        ).returncode
