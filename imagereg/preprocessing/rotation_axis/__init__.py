"""Estimators of the rotation axis: each looks at other evidence, so that they can vote."""
