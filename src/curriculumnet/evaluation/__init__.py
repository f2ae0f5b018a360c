"""Evaluate: errors, intervals, comparisons of runs."""
