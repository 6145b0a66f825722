"""Pools of producers."""
