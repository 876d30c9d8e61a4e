"""Telling plugins what happens to runs and steps: from the log, on threads of their own.

``events`` is what they are told, ``place`` where in the log each of them is, ``observer`` tells one plugin,
``observers`` reads the log for all of them. Nothing here is called by a step, and no step waits for it.
"""
