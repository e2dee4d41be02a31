"""The DFT factory: structures in, labels out, every one of them finished, healed or explained."""

from mlip_autopipec.runtime.factory.factory import label_atoms, label_files, plan_for
from mlip_autopipec.runtime.factory.options import Options

__all__ = ["Options", "label_atoms", "label_files", "plan_for"]
