"""The models behind the stages: one small interface each."""
