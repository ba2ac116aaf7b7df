-- One operation on one account, once.
--
-- ARGV  1 account  2 now in ms, or nothing for the server's clock  3 id, 32 hexadecimal digits  4 the instant that the
--       id carries, in ms  5 the step's name  6 fingerprint of the arguments  7 operation  8… its arguments:
--       grant source kind start end amount · gate until version · plan allowance · hold amount ttl version [start end
--       allowance] [feature] · extend more ttl done · settle amount work job · release · charge amount work job [start end
--       allowance] [feature] · correct call amount work · void source total
-- Returns { outcome, funds }, or { 'broken', reason } when the books would break a rule; nothing is written then.

local function plan_step()
  begin()
  local field, fingerprint = id .. '.' .. ARGV[5], ARGV[6]
  local before = answered(field, fingerprint, ARGV[7])
  if before then
    return { reply = { before, funds() } }
  end
  local outcome = step(ARGV[7], unpack(ARGV, 8))
  -- A stale hold decided nothing: the gateway reads the record again and asks under the same id.
  local is_kept = string.sub(outcome, 1, 6) ~= '!stale'
  local plan = prepare(field, is_kept and fingerprint .. ' ' .. outcome or nil)
  return { reply = { outcome, funds() }, plan = plan }
end

local function apply()
  local result, broken_books = carried_out(plan_step)
  return result and result.reply or broken_books
end

serve('apply', apply)
-- For what must not be refused when the memory is full: not to charge is to serve for nothing.
serve('settle', apply, 'allow-oom')
