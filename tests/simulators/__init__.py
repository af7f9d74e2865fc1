"""Histories with crashes, zombies and lag, run over the real pure code, and brute-force answers to check them by."""
