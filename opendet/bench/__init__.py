"""Benches: what the claims of this project measure, on this machine, with goal and verdict."""
