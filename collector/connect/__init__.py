"""Connections: the only place that talks to the outside, and the only one that imports an SDK."""
