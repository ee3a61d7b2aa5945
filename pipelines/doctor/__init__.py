"""`q1net doctor`: whether a run can start here, and what to do if not."""
