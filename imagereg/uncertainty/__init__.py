"""How sure an image is: samples, intervals, their coverage, and calibration with a guarantee."""
