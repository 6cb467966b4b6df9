"""Training of networks: one loop, what each network learns from, and its optimisers."""
