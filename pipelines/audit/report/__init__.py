"""`q1net report`: a committed run as one HTML page for people."""
