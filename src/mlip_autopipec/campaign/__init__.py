"""The active-learning loop as decisions: events are folded into a state, ``decide`` says what
should happen next.

Nothing in this room touches a process, a clock or a disk. Read ``decide.py`` to know the algorithm.
"""
