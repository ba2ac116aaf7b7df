-- Notes that the answer to an attempt reached its client whole, if that is still the latest one.
--
-- KEYS  1 the key's claim, as in claim.lua
-- ARGV  1 the attempt's id
-- Returns { 'done' }.

serve('delivered', function()
  local stored = redis.call('GET', KEYS[1])
  local before, ends = string.match(stored or '', '^(%x+ %d+ %d+ [01]) [01] (%d+)$')
  if before and string.sub(before, 1, 32) == ARGV[1] then
    redis.call('SET', KEYS[1], before .. ' 1 ' .. ends, 'KEEPTTL')
  end
  return { 'done' }
end)
