"""What several methods share: parameters, data terms, priors, the meaning of `strength`."""
