"""The worker process: ``python -m mlip_autopipec.tasks FOLDER`` does the task of an attempt
folder.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from mlip_autopipec.runtime.worker import main
from mlip_autopipec.tasks.table import HANDLERS

if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(Path(sys.argv[1]).resolve(), HANDLERS))
