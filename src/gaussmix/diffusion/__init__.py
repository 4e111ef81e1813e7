"""The attribute-conditioned diffusion model of the paper D: network, samplers, pipeline, training, evaluation."""
