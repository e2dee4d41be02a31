"""Files of structures -> ``ase.Atoms``: the one reader of every command."""

from mlip_autopipec.science.reading.checks import Given, uncharged
from mlip_autopipec.science.reading.frames import Frames, read_frames, read_start

__all__ = ["Frames", "Given", "read_frames", "read_start", "uncharged"]
