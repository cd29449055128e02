"""
What the benchmarks share: a server of their own, the peers they are measured against, and how a result is told.

Runs in: the contributor's terminal.
"""
