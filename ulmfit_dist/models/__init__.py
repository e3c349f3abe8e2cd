"""AWD-LSTM and QRNN language models and the text classifier on top: tensors in, tensors out; no files, no Ray.

Shape suffixes everywhere: T time, B batch (lanes of a language model, documents of a classifier), E embedding,
H hidden, V vocabulary, C classes, N tokens of a window in one row.
"""
