"""DFT codes."""
