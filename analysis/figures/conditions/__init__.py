"""Figures of `analysis.conditions`."""
