"""Labelled images, their latent vectors, and new images from distributions of latent vectors (E Sec. 3.2.1)."""
