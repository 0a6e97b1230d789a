"""The study of cascade-aware training for three tiers on the bundled tasks; see `__main__`."""
