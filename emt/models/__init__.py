"""Models by name. A new model is one file here and one line below."""

MODELS = {
    "rnn": "emt.models.elman:Elman",
    "lstm": "emt.models.lstm:LSTM",
}
