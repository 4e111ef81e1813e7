"""Densities of one number: counts, bases, weights, mixtures and the estimator over them; NumPy and numba, no torch."""
