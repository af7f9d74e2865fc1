"""Chaos: traffic, faults and an oracle that recounts everything without the code it judges."""
