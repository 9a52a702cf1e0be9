"""Stages that compare a model with the one that it was made from."""
