"""The DFT factory: structures in, labels out, every one of them finished, healed or explained."""

from mlip_autopipec.runtime.factory.factory import Options, label_atoms, label_files, plan_for

__all__ = ["Options", "label_atoms", "label_files", "plan_for"]
