"""Measurements of speed against the plain twin, a baseline or a peer."""
