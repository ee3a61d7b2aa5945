"""`q1net audit`: the quality of every image of an archive, as one table."""
