"""Compares a model with the PyTorch model that it was made from."""
