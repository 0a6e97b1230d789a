"""What learns while it serves: classifiers, and the stream that they learn from."""
