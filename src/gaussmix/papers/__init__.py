"""The papers' tables and figures: one module each with `Config` and `run(config, on_step) -> Result`.

Papers: E is Lu, Ding, Wu, Yuan, "An Efficient Gaussian Mixture Model and Its Application to Neural Network"
(preprints 202302.0275). `gaussmix reproduce NAME` runs one and writes its numbers beside the paper's.
"""
