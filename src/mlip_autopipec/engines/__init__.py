"""One folder per external program, behind the ports."""
