"""Measures a model in a fresh process: time, memory, accuracy, size."""
