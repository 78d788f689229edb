-- Circuits and tickets of one provider and key, for all workers: each action is atomic.
--
-- KEYS[1] circuits: a hash of JSON by scope, `*` the provider as a whole, else one of its models:
--         why, till: open since and until then; probe, probe_till: the one call that may be made
--         then; failed: when calls failed while it was closed. No field: closed, nothing to say.
--         `#look` is when whoever was turned away last should look again.
-- KEYS[2] tickets of the calls under way: a sorted set by when each expires.
-- ARGV[1] now. All times are milliseconds of the callers' common clock.

local KEPT = 3 * 3600 * 1000  -- by Redis's own clock: what nobody writes any more goes away
local SPACING = 50
local FURTHEST = 30000
local now = tonumber(ARGV[1])

local function kept(scope)
    local text = redis.call('HGET', KEYS[1], scope)
    local circuit = text and cjson.decode(text) or {}
    if circuit.why == 'rate_limited' and circuit.till <= now then  -- a pause needs no probe
        circuit.why, circuit.till = nil, nil
    end
    circuit.failed = circuit.failed or {}
    return circuit
end

local function keep(scope, circuit)
    if circuit.why == nil and #circuit.failed == 0 then
        redis.call('HDEL', KEYS[1], scope)
    else
        redis.call('HSET', KEYS[1], scope, cjson.encode(circuit))
        redis.call('PEXPIRE', KEYS[1], KEPT)
    end
end

-- Each of those who wait for the same gets a moment of its own, `wait` from now or later.
local function look_again_in(wait)
    local last = tonumber(redis.call('HGET', KEYS[1], '#look') or '0')
    local at = math.min(math.max(last, now + wait) + SPACING, now + wait + FURTHEST)
    redis.call('HSET', KEYS[1], '#look', string.format('%.0f', at))
    redis.call('PEXPIRE', KEYS[1], KEPT)
    return string.format('%.0f', at - now)
end

local function open(circuit, why, milliseconds)
    -- Only what is shut for the same reason stays shut for as long as was said before.
    local till = circuit.why == why and circuit.till or 0
    circuit.why, circuit.till = why, math.max(till, now + milliseconds)
    circuit.failed = {}
end

local function count(circuit, milliseconds, most, window)
    local recent = {}
    for _, moment in ipairs(circuit.failed) do
        if moment > now - window then recent[#recent + 1] = moment end
    end
    recent[#recent + 1] = now
    circuit.failed = recent
    if #recent >= most then open(circuit, 'circuit_open', milliseconds) end
end

local function learn(circuit, ticket, effect, why, milliseconds, most, window)
    local probed = circuit.probe == ticket
    local is_open = circuit.why ~= nil and circuit.why ~= 'rate_limited'
    if probed then circuit.probe, circuit.probe_till = nil, nil end
    if effect == 'opens' then
        open(circuit, why, milliseconds)
    elseif is_open and not probed then
        return  -- a call from before it opened: only the probe tells how it is now
    elseif effect == 'heals' then
        if not (circuit.why == 'rate_limited') then circuit.why, circuit.till = nil, nil end
        circuit.failed = {}
    elseif effect == 'pauses' then
        open(circuit, why, milliseconds)
    elseif effect == 'counts' and is_open then
        open(circuit, why, milliseconds)
    elseif effect == 'counts' then
        count(circuit, milliseconds, most, window)
    end
end
