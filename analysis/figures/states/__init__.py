"""Figures of `analysis.states`."""
