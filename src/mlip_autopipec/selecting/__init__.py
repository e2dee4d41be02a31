"""Selection from files: frames read one by one, fingerprints in a table on disk, picks into an
extended XYZ file.
"""

from __future__ import annotations

from mlip_autopipec.selecting.file import select_file

__all__ = ["select_file"]
