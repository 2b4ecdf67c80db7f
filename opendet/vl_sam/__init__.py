"""VL-SAM: a vision-language model says what is there, its attention where, SAM draws it. No part
of it is trained."""
