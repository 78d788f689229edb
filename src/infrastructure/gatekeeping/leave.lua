-- ARGV[2] model, [3] ticket, [4..6] effect, why and how long for the provider, [7..9] for the model,
-- [10] failures in a row that open a circuit, [11] within which time.

redis.call('ZREM', KEYS[2], ARGV[3])
for first, scope in pairs({[4] = '*', [7] = ARGV[2]}) do
    local circuit = kept(scope)
    learn(circuit, ARGV[3], ARGV[first], ARGV[first + 1], tonumber(ARGV[first + 2]),
          tonumber(ARGV[10]), tonumber(ARGV[11]))
    keep(scope, circuit)
end
