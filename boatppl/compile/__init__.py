"""Graphs to numbers: the only place that knows PyTensor compilation."""
