"""What trained members do when left alone: fixed and slow points, Jacobians there, Lyapunov spectra.

All in float64, on one step of the model as a map F(h, x) of its moving state (`emt.jacobians`; an LSTM's is
(h, c)).
"""

STARTS = 256
"""Searches of each member, unless told otherwise."""
