-- ARGV[2] model, [3] ticket, [4] how long it is good for, [5] most calls at once (0: no limit),
-- [6] how long to wait for a probe or a ticket. Answers nothing, or why not and for how long.

local half_open = {}
for _, scope in ipairs({'*', ARGV[2]}) do
    local circuit = kept(scope)
    if circuit.why ~= nil then
        if circuit.till > now then
            return {circuit.why, string.format('%.0f', circuit.till - now)}
        elseif circuit.probe ~= nil and circuit.probe_till > now then
            return {'circuit_open', look_again_in(tonumber(ARGV[6]))}
        end
        half_open[scope] = circuit
    end
end

local life, most = tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if most > 0 and redis.call('ZCARD', KEYS[2]) >= most then
    return {'busy', look_again_in(tonumber(ARGV[6]))}
end
for scope, circuit in pairs(half_open) do
    circuit.probe, circuit.probe_till = ARGV[3], now + life
    keep(scope, circuit)
end
redis.call('ZADD', KEYS[2], now + life, ARGV[3])
redis.call('PEXPIRE', KEYS[2], life + KEPT)
return {}
