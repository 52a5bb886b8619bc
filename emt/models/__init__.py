"""Models by name. A new model is one file here and one line below."""

MODELS = {
    "rnn": "emt.models.elman:Elman",
    "lstm": "emt.models.lstm:LSTM",
    "gru": "emt.models.gru:GRU",
    "rate_rnn": "emt.models.rate_rnn:RateNetwork",
    "irnn": "emt.models.irnn:IRNN",
    "ar_lstm": "emt.models.ar_lstm:RetrievalLSTM",
    "alstm": "emt.models.alstm:AssociativeLSTM",
    "fw": "emt.models.fast_weights:FastWeights",
    "fwm": "emt.models.fwm:FastWeightMemory",
    "linear_attention": "emt.models.linear_attention:LinearAttention",
    "fwp": "emt.models.fwp:FastWeightProgrammer",
    "deltanet": "emt.models.deltanet:DeltaNet",
    "attention": "emt.models.attention:Attention",
    "stacked_lstm": "emt.models.stacked_lstm:StackedLSTM",
    "dnd_lstm": "emt.models.dnd_lstm:DNDLSTM",
    "ethereal": "emt.models.ethereal:EtherealRNN",
    "ethereal_rnn": "emt.models.ethereal_rnn:SimpleRNN",
}
