"""Where attempts run: this machine, or a scheduler."""
