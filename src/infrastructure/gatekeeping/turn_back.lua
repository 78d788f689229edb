-- Of calls that were not made after all. ARGV[2] how long to wait, [3..] their tickets.
-- Answers for how long.

local mine = {}
for place = 3, #ARGV do
    redis.call('ZREM', KEYS[2], ARGV[place])
    mine[ARGV[place]] = true
end
for _, scope in ipairs(redis.call('HKEYS', KEYS[1])) do
    if scope ~= '#look' then
        local circuit = kept(scope)
        if circuit.probe ~= nil and mine[circuit.probe] then
            circuit.probe, circuit.probe_till = nil, nil
            keep(scope, circuit)
        end
    end
end
return look_again_in(tonumber(ARGV[2]))
