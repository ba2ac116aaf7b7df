#!lua flags=allow-oom
-- What a log's archive has to agree upon with the gateways that share it.
--
-- KEYS  1 log       stream, as in books/stored.lua
--       2 archived  hash  id of the archive · fence of the lease under which it was written last · position up to which
--                         entries are archived · trimmed: the last id that may be gone from the log · lost: 1 where an
--                         archive before this one had some of that
-- ARGV  1 archive's id  2 fence  3 position, or nothing to ask for it  4 how long entries stay, in ms  5 how many go
--       6 now in ms, or nothing for the server's clock
-- Returns { 'lost' } if a younger lease was here, { 'behind' } if more is archived than the caller has, { 'taken',
-- position } or { 'confirmed', number of messages that went }.

local function before(a, b)
  local a_millis, a_number = string.match(a, '^(%d+)%-(%d+)$')
  local b_millis, b_number = string.match(b, '^(%d+)%-(%d+)$')
  a_millis, b_millis = tonumber(a_millis), tonumber(b_millis)
  return a_millis < b_millis or a_millis == b_millis and tonumber(a_number) < tonumber(b_number)
end

local log, archived = KEYS[1], KEYS[2]
local id, fence, mine = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local state = redis.call('HMGET', archived, 'id', 'fence', 'position', 'trimmed')
local known, position, trimmed = state[1], state[3], state[4]
if state[2] and tonumber(state[2]) > fence then
  return { 'lost' }
end
if known ~= id then
  -- A new archive begins. What went from the log before is in another one.
  redis.call('HSET', archived, 'id', id)
  redis.call('HDEL', archived, 'position')
  position = false
  if known and trimmed then
    redis.call('HSET', archived, 'lost', '1')
  end
end
redis.call('HSET', archived, 'fence', ARGV[2])
if mine == '' then
  return { 'taken', position or '' }
end
if position and before(mine, position) then
  return { 'behind' }
end
redis.call('HSET', archived, 'position', mine)

-- Entries that are archived and old enough go, some at a time.
local now = tonumber(ARGV[6])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local kept_from = string.format('%.0f-0', math.max(now - tonumber(ARGV[4]), 0))
local last = before(mine, kept_from) and mine or '(' .. kept_from
local gone = redis.call('XRANGE', log, '-', last, 'COUNT', ARGV[5])
if #gone == 0 then
  return { 'confirmed', '0' }
end
local newest = gone[#gone][1]
redis.call('HSET', archived, 'trimmed', newest)
local millis, number = string.match(newest, '^(%d+)%-(%d+)$')
redis.call('XTRIM', log, 'MINID', '=', string.format('%.0f-%.0f', tonumber(millis), tonumber(number) + 1))
return { 'confirmed', tostring(#gone) }
