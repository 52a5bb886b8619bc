"""The numerics that must be fast: each operation beside its plain twin, both exact."""

from emt.ops.allocator import keep_freed_memory
from emt.ops.associative_lstm import AssociativeLSTMRun, associative_lstm, associative_lstm_steps
from emt.ops.dictionary import recall_average, recall_nearest, similarities
from emt.ops.dnd_lstm import DNDRun, dnd_lstm, dnd_lstm_steps
from emt.ops.elman import ElmanRun, elman, elman_steps
from emt.ops.fast_weights import FastWeightsRun, fast_matrix, fast_weights, fast_weights_steps
from emt.ops.feature_products import dpfp_products
from emt.ops.fwm.forms import FWMRun, fwm, fwm_steps
from emt.ops.gru import GRURun, gru, gru_steps
from emt.ops.linear_memory.forms import LinearMemoryRun, linear_memory, linear_memory_steps
from emt.ops.linear_memory.normalised import NormalisedRun, normalised_delta, normalised_delta_answer
from emt.ops.linear_memory.sweep import last_read_weights
from emt.ops.lstm import LSTMRun, lstm, lstm_steps
from emt.ops.lstm_drive import lstm_of_drive
from emt.ops.precision import fast_matmul, flush_denormals, is_member_invariant, product_error
from emt.ops.rate import RateRun, rate, rate_steps
from emt.ops.short_convolution import short_convolution, short_convolution_taps

__all__ = [
    "AssociativeLSTMRun",
    "DNDRun",
    "ElmanRun",
    "FWMRun",
    "FastWeightsRun",
    "GRURun",
    "LSTMRun",
    "LinearMemoryRun",
    "NormalisedRun",
    "RateRun",
    "associative_lstm",
    "associative_lstm_steps",
    "dnd_lstm",
    "dnd_lstm_steps",
    "dpfp_products",
    "elman",
    "elman_steps",
    "fast_matmul",
    "fast_matrix",
    "fast_weights",
    "fast_weights_steps",
    "flush_denormals",
    "fwm",
    "fwm_steps",
    "gru",
    "gru_steps",
    "is_member_invariant",
    "keep_freed_memory",
    "last_read_weights",
    "linear_memory",
    "linear_memory_steps",
    "lstm",
    "lstm_of_drive",
    "lstm_steps",
    "normalised_delta",
    "normalised_delta_answer",
    "product_error",
    "rate",
    "rate_steps",
    "recall_average",
    "recall_nearest",
    "short_convolution",
    "short_convolution_taps",
    "similarities",
]
