-- Answers how many calls are under way, then of each circuit its scope, why and until when.

local told = {redis.call('ZCOUNT', KEYS[2], '(' .. ARGV[1], '+inf')}
for _, scope in ipairs(redis.call('HKEYS', KEYS[1])) do
    local circuit = scope ~= '#look' and kept(scope) or {}
    if circuit.why ~= nil then
        told[#told + 1] = {scope, circuit.why, string.format('%.0f', circuit.till)}
    end
end
return told
