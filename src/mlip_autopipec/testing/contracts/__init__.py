"""What every backend of a port has to keep, as pytest classes to be subclassed."""
