-- Uses every command once that is used in scripts or beside them, to find out whether the user may. Nothing stays, and
-- nobody sees what is there for a moment.
--
-- KEYS  1 a hash  2 a stream  3 a sorted set  4 a text, none of which is there
-- ARGV  1 time, if that is asked for too
-- Returns ok, or what the server says, after `time: ` if it is that which it refuses.

local refused

local function use(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err and not refused then
    refused = (... == 'TIME' and 'time: ' or 'refused: ') .. ... .. ': ' .. answer.err
  end
end

use('SET', KEYS[4], '1', 'XX')
use('GET', KEYS[4])
use('INCR', KEYS[4])
use('DEL', KEYS[4])
use('HSETNX', KEYS[1], 'f', '1')
use('HSET', KEYS[1], 'f', '1')
use('PEXPIRE', KEYS[1], 1000)
use('HGET', KEYS[1], 'f')
use('HMGET', KEYS[1], 'f')
use('HGETALL', KEYS[1])
use('HVALS', KEYS[1])
use('HEXISTS', KEYS[1], 'f')
use('HLEN', KEYS[1])
use('HDEL', KEYS[1], 'f')
use('XADD', KEYS[2], 'NOMKSTREAM', '*', 'a', '1')
use('XLEN', KEYS[2])
use('XTRIM', KEYS[2], 'MINID', '0')
use('XRANGE', KEYS[2], '-', '+')
use('ZADD', KEYS[3], 'XX', 0, 'a')
use('ZCARD', KEYS[3])
use('ZRANGE', KEYS[3], 0, -1)
use('ZRANGEBYLEX', KEYS[3], '-', '+')
if ARGV[1] == 'time' then
  use('TIME')
end
return refused or 'ok'
