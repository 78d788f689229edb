-- One more against several limits at once: counted in all of them if it fits into all, else in none.
--
-- In front of this stand look(KEYS, ARGV) and take(KEYS, ARGV): the scripts of the library `limits`.
-- KEYS has two for each limit, the window before and the one that is now; ARGV has 1 to count and 0
-- to look, then an amount and seconds for each limit. Answers for each limit what the window that is
-- now held, what the one before did, and for how many milliseconds the one that is now still lasts.

local count = ARGV[1] == '1'
local limits, found = {}, {}
for i = 1, #KEYS / 2 do
    local amount, seconds = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    local keys = {KEYS[2 * i - 1], KEYS[2 * i]}
    local window = look(keys, {seconds})
    local before, now, lasts = tonumber(window[1]) or 0, tonumber(window[3]) or 0, seconds * 1000
    local left = window[4] > 0 and window[4] - lasts or lasts -- it is kept for one window more
    count = count and math.floor(before * left / lasts) + now < amount
    limits[i] = {keys, {amount, seconds, 1}}
    found[i] = {now, before, left}
end
if count then
    for _, limit in ipairs(limits) do
        take(limit[1], limit[2])
    end
end
return found
