"""Linear memories: one write rule, step by step and in chunks of steps."""
