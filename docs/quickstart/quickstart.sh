#!/usr/bin/env bash
# curl: text, a reference image, waiting or not, live progress, a safe repeat, history.
set -euo pipefail
api="$DARKROOM_URL/api/v1/generations" key="Authorization: Bearer $DARKROOM_API_KEY" json="Content-Type: application/json"
field() { grep -o "\"$1\":\"[^\"]*" | head -n 1 | cut -d '"' -f 4; }

# A prompt goes in; the request waits, and answers with a permanent URL.
url=$(curl -fsS "$api" -H "$key" -H "$json" -d '{"prompt": "a lighthouse on a cliff at dusk"}' | field imageUrl)
curl -fsS "$url" -o lighthouse.png && echo "picture $url"

# A reference image is a file of a form (in JSON it is base64).
curl -fsS "$api" -H "$key" -F prompt="the same place in spring" -F referenceImages=@lighthouse.png | field imageUrl

# Not waiting: 202 says where the generation is found; its events are told as they happen.
place=$(curl -fsS "$api" -H "$key" -H "$json" -H "Prefer: respond-async" -d '{"prompt": "a fox"}' -D - -o fox.json |
  tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
curl -fsSN "$DARKROOM_URL$place/events" -H "$key" -H "Accept: text/event-stream" | grep ^event
curl -fsS "$DARKROOM_URL$place" -H "$key" | field imageUrl

# Repeating is safe with an Idempotency-Key: both answers are of one generation.
once="Idempotency-Key: \"$(cat /proc/sys/kernel/random/uuid)\""
for _ in 1 2; do curl -fsS "$api" -H "$key" -H "$json" -H "$once" -d '{"prompt": "a teapot"}' | field id; done

# History, the newest first.
curl -fsS "$api?status=completed&limit=3" -H "$key" | grep -o '"prompt":"[^"]*"'
