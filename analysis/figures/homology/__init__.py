"""Figures of `analysis.homology`."""
