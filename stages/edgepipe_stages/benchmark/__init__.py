"""Stages that measure a model in its runtime."""
