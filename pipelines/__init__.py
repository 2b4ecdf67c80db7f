"""One program per DVC stage: python -m pipelines.<stage>."""
