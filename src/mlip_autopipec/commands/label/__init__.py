"""The DFT factory: structures in, labels out, every one of them finished, healed, explained."""
