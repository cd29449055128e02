"""
The parts of `bench/logs.py`, one module each, and what several of them need: the program of a job that writes, the
processes that read, and the shape in which a part hands back its result.

Runs in: the contributor's terminal, as root.
"""
