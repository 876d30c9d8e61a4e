"""The engine: drives runs by replay and executes their steps, inside the managed interpreter.

``engine`` has all runs of an interpreter, ``run`` drives one (``run_*`` are its parts), ``executor`` executes
steps. This file imports nothing: workflow modules and the command line take only what they need.
"""
