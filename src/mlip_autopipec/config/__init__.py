"""From the input to the plan, each number with its reason."""
