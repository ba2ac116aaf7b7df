#!lua flags=allow-oom
-- Who archives a ledger: one gateway at a time, and into the ledger's own archive.
--
-- KEYS  1 id of the ledger's archive  2 lease: who has it, for a time  3 fence: which lease it is, counted up
-- ARGV  1 archive's id  2 who asks  3 for how long, in ms  4 whether the ledger may get its archive now: 1 or 0
-- Returns { 'yours', fence }, { 'held' }, { 'foreign', id of the ledger's archive }, or { 'none' } if it has none.

local id = redis.call('GET', KEYS[1])
if not id and ARGV[4] == '1' then
  id = ARGV[1]
  redis.call('SET', KEYS[1], id)
end
if not id then
  return { 'none' }
elseif id ~= ARGV[1] then
  return { 'foreign', id }
end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[2] then
  return { 'held' }
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if not holder then
  redis.call('INCR', KEYS[3])
end
return { 'yours', redis.call('GET', KEYS[3]) }
