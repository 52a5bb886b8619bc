"""Figures of `analysis.degeneracy`."""
