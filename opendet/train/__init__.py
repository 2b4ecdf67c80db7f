"""Matching, losses, the objective, the loop and its checkpoints."""
