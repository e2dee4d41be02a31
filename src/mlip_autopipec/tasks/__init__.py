"""What a worker does: one file a kind of task, and the command that starts a worker."""

import sys

__all__ = ["WORKER"]

#: The attempt's folder follows as the last argument.
WORKER = (sys.executable, "-m", "mlip_autopipec.tasks")
