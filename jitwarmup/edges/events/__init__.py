"""Events: what is said, and the ways out."""
