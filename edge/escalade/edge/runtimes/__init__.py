"""Runtimes: one for each format an artifact may have; each is imported when it is opened."""
