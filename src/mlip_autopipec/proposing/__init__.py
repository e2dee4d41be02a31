"""Generation strategies on many cores."""
