"""Requests counted in sliding windows, for all processes together through Redis."""
