"""Distributions over latent vectors that condition the generators."""
