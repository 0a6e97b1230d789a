"""One module for each group of verbs; each imports its part inside the function it is called by."""
