"""Stages that make data sets."""
