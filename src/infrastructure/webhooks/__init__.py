"""Deliveries to strangers' servers: where they may go, how they are sent, and signed."""
