"""`make chaos`: rounds of load on real processes while their parts are killed, cut off and filled.

One seed decides a round: who asks for what, what is broken, and when. Afterwards the log, the
provider's ledger, the tables and the pictures over HTTP must tell the same story.
"""
