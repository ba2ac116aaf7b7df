-- What a hold asks beside the credits: that the account owns what the call is about. Stands between the rules of money
-- and apply.lua, which finds its arguments as if nothing had been asked.
--
-- KEYS  6… hashes of what the account owns: for ever, and of each spell that is still known
-- ARGV  at the end: the things, and last how many there are
-- Returns { 'foreign', '' } if the account does not own one of them; nothing is written then.

local function is_owned(thing)
  for i = 6, #KEYS do
    if redis.call('HEXISTS', KEYS[i], thing) == 1 then
      return true
    end
  end
  return false
end

for _ = 1, tonumber(table.remove(ARGV)) do
  if not is_owned(table.remove(ARGV)) then
    return { 'foreign', '' }
  end
end
