"""Bundles: the sealed evidence of one period, built from a store, and checked without one."""
