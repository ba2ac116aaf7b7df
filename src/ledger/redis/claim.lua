-- One hold, once, whose call may repeat another one or be a part of a task: the twin of src/credit/claim.rs.
--
-- KEYS  6 claim of the key  7 operations in the hour of the call that it names  8, 9 the same of the task; anything
--       where they are not asked for or name no call
-- ARGV  1 to 6 as in apply.lua  7 fingerprint of a release  8 the call that the key's claim is taken to name: nothing if
--       there is no key, - if there is no claim  9 the same of the task  10, 11 the task's calls and its time in ms
--       12… the hold's arguments
-- A claim is a text: call since count paid delivered ends.
-- Returns { outcome, funds, rides }; { 'repeated', why }; { 'look', call, call } where the claims name other calls, which
-- are to be told; or { 'broken', reason }. Nothing is written in the last three cases.

local SENT_AGAIN_MAX = 3

local function parse_claim(key)
  local stored = redis.call('GET', key)
  if not stored then
    return nil
  end
  local call, since, count, paid, delivered, ends =
    string.match(stored, '^(%x+) (%d+) (%d+) ([01]) ([01]) (%d+)$')
  if not call then
    broken('a claim can not be read')
  end
  return {
    call = call, since = tonumber(since), count = tonumber(count), paid = paid,
    delivered = delivered, ends = tonumber(ends),
  }
end

local function claim_text(claim)
  return table.concat({
    claim.call, text(claim.since), text(claim.count), claim.paid, claim.delivered, text(claim.ends),
  }, ' ')
end

local function ran_out(charged)
  return charged > 0 and 'charged' or 'ran_out'
end

-- What became of a call; its steps are remembered in `memory`.
local function fate(call, memory)
  local hold = kept('H', call)
  if hold then
    return now < hold.deadline and 'running' or ran_out(hold.done)
  end
  for _, name in ipairs({ 'settle', 'charge' }) do
    local stored = redis.call('HGET', memory, call .. '.' .. name)
    if stored and string.find(stored, '^%x+ [^!]') then
      return 'charged'
    end
  end
  local expired = kept('E', call)
  if expired and now < expired.settle_until then
    return ran_out(expired.charged)
  end
  return 'nothing'
end

local function repetition(claim, became)
  local new = {
    call = id, since = now, count = 0, paid = '0', delivered = '0', ends = made_at + REMEMBERED,
  }
  if not claim then
    return new, false
  elseif became == 'running' then
    return 'running'
  elseif became == 'charged' and claim.delivered == '1' then
    return 'delivered'
  elseif became == 'charged' and claim.count >= SENT_AGAIN_MAX then
    return 'sent_often'
  elseif became == 'charged' then
    new.count, new.paid = claim.count + 1, '1'
    return new, true
  end
  new.count, new.paid = claim.count, claim.paid
  return new, claim.paid == '1', became == 'ran_out' and claim.call or nil
end

local function part(claim, became, calls, millis)
  local first =
    { call = id, since = now, count = 1, paid = '0', delivered = '0', ends = later(millis) }
  if not claim then
    return first, false
  end
  local is_within = claim.count < calls and now < claim.since + millis
  if (became == 'running' or became == 'charged') and is_within then
    claim.count = claim.count + 1
    return claim, true
  end
  return first, false, became == 'ran_out' and claim.call or nil
end

-- Gives up a call whose hold ran out, so that it is not charged as well. Returns what is to be remembered of it.
local function give_up(call, memory)
  local own = id
  id = call
  local outcome = step('release')
  id = own
  return { memory, call .. '.release', ARGV[7] .. ' ' .. outcome }
end

-- Whether the hold, which is open, holds nothing of what was asked.
local function rides(amount)
  local hold = kept('H', id)
  return number(amount, MAX) > 0 and hold and sum(hold.parts) == 0 and '1' or '0'
end

local function plan_step()
  begin()
  local field, fingerprint, amount = id .. '.hold', ARGV[6], ARGV[12]
  local before = answered(field, fingerprint)
  if before then
    return { reply = { before, funds(), rides(amount) } }
  end

  local has_key, has_task = ARGV[8] ~= '', ARGV[9] ~= ''
  local key, task = has_key and parse_claim(KEYS[6]) or nil, has_task and parse_claim(KEYS[8]) or nil
  local key_call, task_call = key and key.call or '-', task and task.call or '-'
  if has_key and key_call ~= ARGV[8] or has_task and task_call ~= ARGV[9] then
    return { reply = { 'look', key_call, task_call } }
  end
  key, task = key and now < key.ends and key or nil, task and now < task.ends and task or nil
  local key_fate, task_fate = key and fate(key.call, KEYS[7]), task and fate(task.call, KEYS[9])
  local is_paid, claims, given_up, gone = false, {}, {}, nil
  if has_key then
    local claim
    claim, is_paid, gone = repetition(key, key_fate)
    if type(claim) == 'string' then
      return { reply = { 'repeated', claim } }
    end
    claims[KEYS[6]] = claim
    if gone then
      given_up[1] = give_up(gone, KEYS[7])
    end
  end
  if has_task and not is_paid then
    local claim, call
    claim, is_paid, call = part(task, task_fate, number(ARGV[10]), number(ARGV[11]))
    claims[KEYS[8]] = claim
    if call and call ~= gone then
      given_up[#given_up + 1] = give_up(call, KEYS[9])
    end
  end

  local outcome = ruled_out('hold')
  local is_new = not outcome
  if is_new then
    local words = { unpack(ARGV, 12) }
    words[1] = is_paid and '0' or amount
    outcome = step('hold', unpack(words))
  end
  local is_kept = is_new and string.sub(outcome, 1, 6) ~= '!stale'
  local plan = prepare(field, is_kept and fingerprint .. ' ' .. outcome or nil)
  plan.given_up, plan.claims = given_up, {}
  for name, claim in pairs(outcome == 'held' and claims or {}) do
    plan.claims[#plan.claims + 1] = { name, claim_text(claim), text(math.max(claim.ends - clock, 1)) }
  end
  return { reply = { outcome, funds(), rides(amount) }, plan = plan }
end

local function claim()
  local result, broken_books = carried_out(plan_step)
  if not result then
    return broken_books
  end
  if result.plan then
    for _, memory in ipairs(result.plan.given_up) do
      redis.call('HSET', memory[1], memory[2], memory[3])
    end
    for _, claim in ipairs(result.plan.claims) do
      redis.call('SET', claim[1], claim[2], 'PX', claim[3])
    end
  end
  return result.reply
end

serve('claim', claim)
