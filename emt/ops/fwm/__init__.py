"""Fast Weight Memory: the equations step by step, and an exact fast form."""
