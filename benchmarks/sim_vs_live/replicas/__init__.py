"""How many replicas a fleet's plan says, beside how many live servers need.

A replica is an `escalade serve` of the bundled large model that Linux leaves a share of a core, so
that several fit on a machine. Live, calls come at moments of chance and go each to the replica with
the fewest under way, as in a fleet. The plan is what a user makes: `escalade load --fit --rate` and
a trace of `escalade record`, both of one replica and of other queries, in a fleet's file.
"""
