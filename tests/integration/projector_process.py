"""A process that follows the log into the recording read model: to be killed and stopped."""

import asyncio
import sys

from infrastructure.event_store.follower import Follower
from tests.integration.following import RECORDING

if __name__ == "__main__":
    url, idle_session_timeout, batch = sys.argv[1:]
    follower = Follower(
        url, RECORDING, idle_session_timeout=float(idle_session_timeout), batch=int(batch)
    )
    asyncio.run(follower.run())
