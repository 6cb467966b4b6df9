"""Algorithms for min fidelity(A x) + priors: one algorithm a file, one loop in `base`."""
