"""The numerics that must be fast: each operation beside its plain twin, both exact."""

from emt.ops.elman import ElmanRun, elman, elman_steps
from emt.ops.fast_weights import FastWeightsRun, fast_matrix, fast_weights, fast_weights_steps
from emt.ops.lstm import LSTMRun, lstm, lstm_steps
from emt.ops.memory import keep_freed_memory
from emt.ops.precision import fast_matmul, is_member_invariant, product_error

__all__ = [
    "ElmanRun",
    "FastWeightsRun",
    "LSTMRun",
    "elman",
    "elman_steps",
    "fast_matmul",
    "fast_matrix",
    "fast_weights",
    "fast_weights_steps",
    "is_member_invariant",
    "keep_freed_memory",
    "lstm",
    "lstm_steps",
    "product_error",
]
