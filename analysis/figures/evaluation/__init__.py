"""Figures of `analysis.evaluation`."""
