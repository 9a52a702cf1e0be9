"""Stages that make a model smaller and faster with integers."""
