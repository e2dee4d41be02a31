"""``python -m mlip_autopipec.cli``."""

from mlip_autopipec.cli.main import main

main()
