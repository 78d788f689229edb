"""Python (httpx): text, a reference image, waiting or not, progress, a safe repeat, history."""

import os

import httpx

key = {"Authorization": f"Bearer {os.environ['DARKROOM_API_KEY']}"}
api = httpx.Client(base_url=f"{os.environ['DARKROOM_URL']}/api/v1/", headers=key, timeout=60)
stream = {"Accept": "text/event-stream"}

# A prompt goes in; the request waits, and answers with a permanent URL.
lighthouse = api.post("generations", json={"prompt": "a lighthouse at dusk"}).json()
picture = httpx.get(lighthouse["imageUrl"]).content
print("picture", lighthouse["imageUrl"], len(picture), "bytes")

# A reference image is a file of a form (in JSON it is base64).
form = {"prompt": "the same place in spring"}
spring = api.post("generations", data=form, files={"referenceImages": picture})
print("spring", spring.json()["imageUrl"])

# Not waiting: 202 says where the generation is found; its events are told as they happen.
fox = api.post("generations", json={"prompt": "a fox"}, headers={"Prefer": "respond-async"})
with api.stream("GET", f"generations/{fox.json()['id']}/events", headers=stream) as told:
    print("events", [line for line in told.iter_lines() if line.startswith("event: generation")])

# Repeating is safe with an Idempotency-Key: both answers are of one generation.
once = {"Idempotency-Key": f'"{os.urandom(16).hex()}"'}
for _ in range(2):
    teapot = api.post("generations", json={"prompt": "a teapot"}, headers=once)
    print("one generation", teapot.json()["id"])

# History, the newest first.
for item in api.get("generations", params={"status": "completed", "limit": 3}).json()["items"]:
    print("history", item["createdAt"], item["prompt"])
