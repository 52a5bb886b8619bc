"""Figures of `analysis.spectra`."""
