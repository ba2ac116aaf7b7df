-- What each operation does to the books: the twin of src/credit/apply.rs. Follows rules.lua.

local function has_room(amount)
  local total = amount
  for _, lot in ipairs(A.lots) do
    total = total + lot.remaining
    if total > MAX then
      return false
    end
  end
  return true
end

local function first_of(parts, amount)
  local left, taken = amount, {}
  for i = 1, #parts do
    local part = parts[i]
    local portion = part.amount < left and part.amount or left
    if portion > 0 then
      taken[#taken + 1] = { lot = part.lot, amount = portion }
      left = left - portion
    end
  end
  return taken
end

local function unheld_parts(amount)
  local parts, missing, lots = {}, amount, A.lots
  for i = 1, #lots do
    local lot = lots[i]
    if missing == 0 then
      break
    end
    local portion = is_open(lot) and math.min(unheld(lot), missing) or 0
    if portion > 0 then
      parts[#parts + 1] = { lot = lot.no, amount = portion }
      missing = missing - portion
    end
  end
  return parts, missing
end

local function expire_holds()
  for _, hold in ipairs(all('H', by_id)) do
    if hold.deadline <= now then
      local parts, settle_until = first_of(hold.parts, hold.done), later(REMEMBERED)
      unreserve(hold)
      take(parts)
      keep('E', { id = hold.id, order = A.q + 1, charged = hold.done, settle_until = settle_until })
      record('hold_expired %s %d %s %d', short(hold.id), hold.done, parts_text(parts), settle_until)
    end
  end
end

local function next_ended()
  local lots = A.lots
  for i = 1, #lots do
    local lot = lots[i]
    if lot.fin <= now and unheld(lot) > 0 then
      return lot
    end
  end
end

local function expire_lots()
  local lot = next_ended()
  while lot do
    local amount = unheld(lot)
    take({ { lot = lot.no, amount = amount } })
    if lot.source ~= '' then
      local source = source_named(lot.source)
      if source then
        source.value.expired = capped(source.value.expired + amount)
      end
    end
    record('lot_expired %d %d', lot.no, amount)
    lot = next_ended()
  end
end

local function carry_out_due()
  if is_due() then
    expire_holds()
  end
  expire_lots()
  if now < A.g and A.d > 0 then
    local parts = unheld_parts(A.d)
    if #parts > 0 then
      take(parts)
      A.d = less(A.d, sum(parts), 'debt')
      record('repay %s', parts_text(parts))
    end
  end
end

local function open_lot(kind, start, fin, amount, source)
  local no, repaid = A.n + 1, math.min(A.d, amount)
  if no > LOTS_MAX then
    broken('there are too many lots')
  end
  A.d = less(A.d, repaid, 'debt')
  if kind == 'P' then
    -- One plan lot at a time: a new period ends the one before it.
    for _, lot in ipairs(A.lots) do
      if lot.kind == 'P' then
        lot.fin, lot.text = math.min(lot.fin, now), nil
      end
    end
    A.p = start
  end
  A.n = no
  A.lots[#A.lots + 1] = {
    no = no, kind = kind, source = source or '', start = start, fin = fin,
    granted = amount, remaining = amount - repaid, held = 0,
  }
  table.sort(A.lots, burns_before)
  record('grant %d %s %d %d %d %d%s', no, kind, start, fin, amount, repaid, word(source))
  return no, repaid
end

local function open_period(start, fin, allowance)
  local due = start > A.p and start <= now and now < fin
  if due and allowance > 0 and has_room(allowance) then
    open_lot('P', start, fin, allowance)
    carry_out_due()
  end
end

local function shortage(missing)
  local held = 0
  for _, lot in ipairs(A.lots) do
    if is_open(lot) then
      held = capped(held + lot.held)
    end
  end
  return missing <= held and '!held' or '!exhausted'
end

-- The call's hold that expired, while it may be settled.
local function late()
  local hold = kept('E', id)
  return hold and now < hold.settle_until and hold or nil
end

local function may_settle()
  return kept('H', id) or late()
end

-- Each takes its arguments as texts and gives the outcome as text; a refusal begins with an exclamation mark.
local operations = {}

function operations.grant(name, kind, start, fin, amount)
  start, fin, amount = number(start, FOREVER), number(fin, FOREVER), number(amount, MAX)
  if not PRIORITY[kind] then
    broken('a kind of lot was expected')
  end
  local known = source_named(name)
  if known then
    known = known.value
    local same = known.kind == kind and known.start == start and known.fin == fin
      and known.granted == amount
    return same and 'granted_before ' .. text(known.lot) or '!conflict'
  end
  if fin <= start or fin <= now then
    return '!ended'
  end
  if not has_room(amount) then
    return '!too_much'
  end
  sources[name] = { value = {
    lot = A.n + 1, kind = kind, start = start, fin = fin, granted = amount,
    expired = 0, voided = 0, reclaimed = 0,
  } }
  local lot, repaid = open_lot(kind, start, fin, amount, name)
  return 'granted ' .. text(lot) .. ' ' .. text(repaid)
end

function operations.gate(gate_until, version)
  gate_until, version = number(gate_until, FOREVER), number(version)
  if version <= A.v then
    return 'gated 1'
  end
  A.g, A.v = gate_until, version
  record('gate %d %d', gate_until, version)
  return 'gated 0'
end

function operations.plan(allowance)
  allowance = number(allowance, MAX)
  for _, lot in ipairs(A.lots) do
    if lot.kind == 'P' and is_open(lot) then
      local used = at_least_nothing(lot.granted - lot.remaining)
      local remaining = math.max(at_least_nothing(allowance - used), lot.held)
      local change = remaining - lot.remaining
      lot.text = nil
      if change > 0 and not has_room(change) then
        return '!too_much'
      elseif change > 0 then
        lot.granted = more(lot.granted, change, 'plan')
        lot.remaining = more(lot.remaining, change, 'plan')
      elseif change < 0 then
        lot.granted = less(lot.granted, -change, 'plan')
        lot.remaining = less(lot.remaining, -change, 'plan')
      end
      if change ~= 0 then
        record('plan %d %d %d', lot.no, allowance, change)
      end
      return 'planned ' .. text(change)
    end
  end
  return 'planned 0'
end

-- A month and what the call is for, both of which may be missing: three words, and one.
local function month_and_feature(start, fin, allowance, feature)
  if start and not fin then
    return nil, nil, nil, start
  end
  return start, fin, allowance, feature
end

function operations.hold(amount, ttl, version, ...)
  local start, fin, allowance, feature = month_and_feature(...)
  amount, ttl, version = number(amount, MAX), number(ttl), number(version)
  if version ~= A.v then
    return '!stale ' .. text(A.v)
  end
  if now >= A.g then
    return '!inactive'
  end
  if may_settle() then
    return '!conflict'
  end
  if start then
    open_period(number(start, FOREVER), number(fin, FOREVER), number(allowance, MAX))
  end
  if A.count.H >= HOLDS_MAX then
    return '!too_many_holds'
  end
  if A.d > 0 then
    return '!owed'
  end
  local parts, missing = unheld_parts(amount)
  if missing > 0 then
    return shortage(missing)
  end
  local deadline = later(ttl)
  reserve(parts)
  keep('H', { id = id, deadline = deadline, done = 0, parts = parts })
  record('hold %s %d %d %s%s', short(id), amount, deadline, parts_text(parts), word(feature))
  return 'held'
end

function operations.extend(extra, ttl, done)
  extra, ttl, done = number(extra, MAX), number(ttl), number(done, MAX)
  local hold = kept('H', id)
  if not hold then
    return '!already_resolved'
  end
  if extra > 0 and now >= A.g then
    return '!inactive'
  end
  local added, missing = unheld_parts(extra)
  if missing > 0 then
    return shortage(missing)
  end
  local total = sum(hold.parts) + extra
  if total > MAX then
    return '!too_much'
  end
  reserve(added)
  for _, part in ipairs(added) do
    hold.parts[#hold.parts + 1] = part
  end
  hold.deadline = math.max(hold.deadline, later(ttl))
  hold.done = math.max(math.min(done, total), hold.done)
  keep('H', hold)
  record('extend %s %s %d %d', short(id), parts_text(added), hold.deadline, hold.done)
  return 'extended'
end

-- What a call is charged for, as it goes into the entry: nothing where a call has a price.
local function told(work)
  return work ~= '-' and work or nil
end

-- From now on the charge of the call may be corrected, if it began a job: `-` is none.
local function await_job(job, charged, owed, parts)
  if job == '-' then
    return nil
  end
  local order, correct_until = A.q + 1, later(CORRECTABLE)
  kept('J', id)
  keep('J', {
    id = id, order = order, correct_until = correct_until,
    text = packed_job(order, correct_until, charged, owed, parts, job),
  })
  return 'job=' .. job
end

function operations.settle(amount, work, job)
  amount = number(amount, MAX)
  local hold, expired = kept('H', id), late()
  local parts, charged, before = {}, amount, 0
  if hold then
    parts = first_of(hold.parts, amount)
  elseif expired then
    -- The confirmed part was charged when the hold expired.
    before = expired.charged
    charged = at_least_nothing(amount - before)
  else
    return '!already_resolved'
  end
  local overrun, owed = unheld_parts(charged - sum(parts))
  if A.d + owed > MAX then
    return '!too_much'
  end
  for i = 1, #overrun do
    parts[#parts + 1] = overrun[i]
  end
  if hold then
    unreserve(hold)
  else
    drop('E', id)
  end
  local begun = await_job(job, capped(before + charged), owed, parts)
  take(parts)
  A.d = more(A.d, owed, 'debt')
  record('%s %s %d %s %d%s%s', hold and 'settle' or 'settle_late', short(id), charged, parts_text(parts),
    owed, word(told(work)), word(begun))
  return string.format('settled %d %d', charged, owed)
end

function operations.release()
  local hold, expired = kept('H', id), late()
  if hold then
    unreserve(hold)
  elseif expired and expired.charged == 0 then
    drop('E', id)
  else
    return '!already_resolved'
  end
  record('release %s', short(id))
  return 'released'
end

-- Charges a call that was let through while the ledger was away: a settlement, if its hold was placed after all.
function operations.charge(amount, work, job, ...)
  local start, fin, allowance, feature = month_and_feature(...)
  if may_settle() then
    return operations.settle(amount, work, job)
  end
  amount = number(amount, MAX)
  -- Nothing was reserved before the gate closed: then nothing leaves a lot.
  local parts, owed = {}, amount
  if now < A.g then
    if start then
      open_period(number(start, FOREVER), number(fin, FOREVER), number(allowance, MAX))
    end
    parts, owed = unheld_parts(amount)
  end
  if A.d + owed > MAX then
    return '!too_much'
  end
  local begun = await_job(job, amount, owed, parts)
  take(parts)
  A.d = more(A.d, owed, 'debt')
  record('charge %s %d %s %d%s%s%s', short(id), amount, parts_text(parts), owed,
    word(feature and 'feature=' .. feature), word(told(work)), word(begun))
  return 'settled ' .. text(amount) .. ' ' .. text(owed)
end

-- Adds to `back` what of `amount` the lot was granted and does not have; how much that is.
local function give(back, lot, amount)
  local missing = at_least_nothing(lot.granted - lot.remaining)
  for _, part in ipairs(back) do
    if part.lot == lot.no then
      missing = at_least_nothing(missing - part.amount)
    end
  end
  local given = math.min(amount, missing)
  if given > 0 then
    back[#back + 1] = { lot = lot.no, amount = given }
  end
  return given
end

-- What a job was charged too much goes back, the last first: to the debt that it left, and to the lots that it came
-- from, where it expires at once if they have ended. What was repaid of its debt goes to open lots, as far as something
-- is missing there.
local function returned(amount, job_owed, job_parts)
  local owed, back = math.min(amount, job_owed), {}
  local repaid, left = math.min(owed, A.d), amount - owed
  for place = #job_parts, 1, -1 do
    local part = job_parts[place]
    local portion, lot = math.min(part.amount, left), lot_numbered(part.lot)
    left = left - portion
    if lot then
      give(back, lot, portion)
    end
  end
  local homeless = capped(left + owed - repaid)
  for _, lot in ipairs(A.lots) do
    if is_open(lot) then
      homeless = homeless - give(back, lot, homeless)
    end
  end
  return back, repaid, amount - repaid - sum(back)
end

-- The job of `call` turned out to cost `amount` in all.
function operations.correct(call, amount, work)
  amount = number(amount, MAX)
  local job = kept('J', call)
  if not job or now >= job.correct_until then
    return '!already_resolved'
  end
  local before, job_owed, job_parts = job_terms(job.text)
  local back, repaid, lost = returned(at_least_nothing(before - amount), job_owed, job_parts)
  local parts, owed = unheld_parts(at_least_nothing(amount - before))
  if A.d + owed > MAX or not has_room(sum(back)) then
    return '!too_much'
  end
  drop('J', call)
  for _, part in ipairs(back) do
    local lot = lot_of(part)
    lot.remaining, lot.text = more(lot.remaining, part.amount, 'lot'), nil
  end
  take(parts)
  A.d = more(less(A.d, repaid, 'debt'), owed, 'debt')
  record('correct %s %d %d %s %d %d %s %d%s', short(call), amount, before, parts_text(back), repaid, lost,
    parts_text(parts), owed, word(told(work)))
  return 'corrected ' .. text(before) .. ' ' .. text(amount) .. ' ' .. text(owed)
end

function operations.void(name, total)
  total = number(total, MAX)
  local known = source_named(name)
  if not known then
    return '!unknown_source'
  end
  local source = known.value
  total = math.min(total, source.granted)
  local due = at_least_nothing(total - source.voided)
  if due == 0 then
    return 'voided 0 0'
  end
  local lot = lot_numbered(source.lot)
  local rest = lot and unheld(lot) or 0
  local taken = math.min(due, rest)
  local gone = capped(capped(source.expired + source.reclaimed) + rest)
  local owed = math.min(due - taken, at_least_nothing(source.granted - gone))
  if A.d + owed > MAX then
    return '!too_much'
  end
  source.voided = total
  source.reclaimed = capped(capped(source.reclaimed + taken) + owed)
  ask_back(source.lot, owed)
  if taken > 0 then
    take({ { lot = source.lot, amount = taken } })
  end
  A.d = more(A.d, owed, 'debt')
  record('void %d %d %d %d %s', source.lot, total, taken, owed, name)
  return 'voided ' .. text(taken) .. ' ' .. text(owed)
end

-- One operation on the books as they are in memory.
local function step(operation, ...)
  -- The source's lot may end in this very step.
  if operation == 'grant' or operation == 'void' then
    source_named((...))
  end
  carry_out_due()
  local outcome = operations[operation](...)
  carry_out_due()
  check()
  return outcome
end
