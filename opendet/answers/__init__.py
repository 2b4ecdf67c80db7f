"""What models said, kept: nothing is asked twice."""
