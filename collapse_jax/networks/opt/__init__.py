"""OPT (Zhang et al. 2022): its shape, weights, files, tokens, decoding and scores."""
