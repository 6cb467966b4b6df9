"""The regularisation parameter, with evidence: rules that need no truth, and learning from example pairs."""
