"""Regularisation terms: what is known of the image beforehand."""
