"""Predict: answers for files."""
