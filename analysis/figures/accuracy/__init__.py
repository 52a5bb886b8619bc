"""Figures of `analysis.accuracy`."""
