"""What each command does, without options and printing."""
