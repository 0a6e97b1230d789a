"""Answers deferred queries with the large model, over gRPC; of ours it knows the wire."""
