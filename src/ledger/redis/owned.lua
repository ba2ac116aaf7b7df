-- What a hold asks beside the credits: that the account owns what the call is about. Stands after apply.lua, which
-- finds its arguments as if nothing had been asked.
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

serve('apply_if_owned', function()
  for _ = 1, tonumber(table.remove(ARGV)) do
    if not is_owned(table.remove(ARGV)) then
      return { 'foreign', '' }
    end
  end
  return apply()
end)
