"""Data terms: how far A x is from y."""
