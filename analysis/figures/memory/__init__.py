"""Figures of `analysis.memory`."""
