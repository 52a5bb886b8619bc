"""Attacks on the product: kills, full disks, pairs of writers, damaged files and hostile names."""
