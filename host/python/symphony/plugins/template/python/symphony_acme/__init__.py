"""Workflows for Symphony that count words."""
