"""Noise as the data show it: its level, its kind, and the risk of a denoiser that it implies."""
