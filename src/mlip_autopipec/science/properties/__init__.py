"""Properties: values from labels and from any calculator."""
