"""How fast populations train."""
