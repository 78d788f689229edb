"""Who may be called now: circuits, tickets and rates, shared by all workers through Redis."""
