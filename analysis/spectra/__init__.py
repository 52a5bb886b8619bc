"""Spectra of recurrent weights: values, distances, maps, comparison of populations."""
