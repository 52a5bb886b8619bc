"""Figures of `analysis.variables`."""
