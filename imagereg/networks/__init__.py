"""Trainable networks that take images of any size, and the store of their weights."""
