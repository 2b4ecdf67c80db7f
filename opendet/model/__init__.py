"""The detector and its namers."""
