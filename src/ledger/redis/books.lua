-- The rules of money in Redis: the twin of src/credit (apply.rs, account.rs), function by function. It decides and
-- writes in one step. apply.lua, owned.lua, change.lua and claim.lua, which follow this text, say what is asked and what
-- is answered. Together they are one library of functions, which a server keeps and need not make anew for each step.
--
-- An error in a script does not undo its earlier writes. So everything is read and computed first, inside `plan_step`,
-- where an error leaves no trace; `write` comes last and has nothing in it that can fail.
--
-- Numbers are doubles: exact below 2^53, and printed with `text`, because tostring() turns to exponents at 10^14.
-- Amounts are µ up to 4*10^15, so the sum of two stays exact. Arguments are checked by pattern before they are used.
--
-- KEYS  1 account   hash   f format, q seq, t clock, g gate_until, v version, d debt, p plan_start, n lots_opened
--                          x nothing of what H, E and J name is due before this instant; 0 if nobody knows
--                          L<no> kind:start:end:granted:remaining:held      S<no> the lot's source
--                          H<id> deadline:done:parts                        E<id> order:charged:settle_until
--                          J<id> order:correct_until:charged:owed:parts job
--       2 sources   hash   source -> lot:kind:start:end:granted:expired:voided:reclaimed, for ever
--       3 operations hash  id.step -> fingerprint outcome; one for each hour of the ids, gone 73 h after it
--       4 log       stream a account, e entry
--       5 names     sorted set of the shard's accounts
-- Kinds of lots are P plan, G gift, B bought. Parts are lot=amount,lot=amount. `order` is the number of the entry that
-- let the hold expire, or charged the job.
--
-- An entry: seq at op balance fact arguments. Facts: grant lot kind start end amount repaid [source] · gate until
-- version · plan lot allowance change · hold id amount deadline parts · extend id parts deadline done · settle (or
-- settle_late) id charged parts owed [work] [job=…] · charge id charged parts owed [work] [job=…] · correct id charged
-- before back repaid lost parts owed [work] · release id · hold_expired id done parts settle_until · lot_expired lot
-- amount · repay parts · void lot total taken owed source. An id that is the operation's own is written =, no parts are -.

local MAX = 4000000000000000
local EXACT = 9007199254740991
local FOREVER = 253402300799000
local REMEMBERED = 259200000
local HOUR = 3600000
local HOLDS_MAX = 1000
local CORRECTABLE = 3024000000
local JOBS_MAX = 256
local FORMAT = '1'
local PRIORITY = { P = 10, G = 15, B = 20 }

-- The keys and arguments of the function that is asked.
local KEYS, ARGV
-- What is asked: the account, the clock, the account's clock, the operation's id and its instant.
local account, clock, now, id, made_at
-- The books, their scalars as they are stored and as they were read, the new entries, and the sources that were looked
-- at.
local A, old, was, entries, sources
-- A.kept has holds, expired holds and open jobs by their fields, as texts until somebody looks at them: there may be a
-- thousand, and a step concerns one. A.count says how many there are of each, `touched` which of them changed.
local touched

local function broken(reason)
  error({ err = reason }, 0)
end

local function text(number)
  return string.format('%d', number)
end

local function number(given, most)
  if type(given) ~= 'string' or #given > 16 or not string.find(given, '^%d+$') then
    broken('a number was expected')
  end
  local value = tonumber(given)
  if value > (most or EXACT) then
    broken('a number is too large')
  end
  return value
end

local function less(from, amount, what)
  if amount > from then
    broken(what .. ' would fall below nothing')
  end
  return from - amount
end

local function more(to, amount, what)
  if to + amount > MAX then
    broken(what .. ' would pass the limit')
  end
  return to + amount
end

local function capped(sum)
  return math.min(sum, MAX)
end

local function at_least_nothing(difference)
  return math.max(difference, 0)
end

local function later(millis)
  return math.min(now + millis, FOREVER)
end

-- Texts --------------------------------------------------------------------------------------------------------------

local function parts_text(parts)
  local texts = {}
  for i, part in ipairs(parts) do
    texts[i] = string.format('%d=%d', part.lot, part.amount)
  end
  return table.concat(texts, ',')
end

local function parse_parts(given)
  local parts = {}
  for lot, amount in string.gmatch(given, '(%d+)=(%d+)') do
    parts[#parts + 1] = { lot = tonumber(lot), amount = tonumber(amount) }
  end
  return parts
end

local function lot_text(lot)
  return string.format('%s:%d:%d:%d:%d:%d', lot.kind, lot.start, lot.fin, lot.granted, lot.remaining, lot.held)
end

local function parse_lot(no, given, source)
  local kind, start, fin, granted, remaining, held =
    string.match(given, '^([PGB]):(%d+):(%d+):(%d+):(%d+):(%d+)$')
  if not kind then
    broken('a lot can not be read')
  end
  return {
    no = number(no), kind = kind, start = tonumber(start), fin = tonumber(fin),
    granted = tonumber(granted), remaining = tonumber(remaining), held = tonumber(held),
    text = given, source = source,
  }
end

local function hold_text(hold)
  return string.format('%d:%d:%s', hold.deadline, hold.done, parts_text(hold.parts))
end

local function parse_hold(hold_id, given)
  local deadline, done, parts = string.match(given, '^(%d+):(%d+):([%d=,]*)$')
  if not deadline then
    broken('a hold can not be read')
  end
  return {
    id = hold_id, deadline = tonumber(deadline), done = tonumber(done),
    parts = parse_parts(parts),
  }
end

local function parse_expired(hold_id, given)
  local order, charged, settle_until = string.match(given, '^(%d+):(%d+):(%d+)$')
  if not order then
    broken('an expired hold can not be read')
  end
  return {
    id = hold_id, order = tonumber(order), charged = tonumber(charged),
    settle_until = tonumber(settle_until),
  }
end

local function expired_text(hold)
  return string.format('%d:%d:%d', hold.order, hold.charged, hold.settle_until)
end

-- A job's lots and what describes it are read when it is corrected.
local function parse_job(call, given)
  local order, correct_until = string.match(given, '^(%d+):(%d+):')
  if not order then
    broken('a job can not be read')
  end
  return {
    id = call, order = tonumber(order), correct_until = tonumber(correct_until), text = given,
  }
end

local function job_text(job)
  return job.text
end

local function source_text(source)
  return string.format('%d:%s:%d:%d:%d:%d:%d:%d', source.lot, source.kind, source.start, source.fin, source.granted,
    source.expired, source.voided, source.reclaimed)
end

local function parse_source(given)
  local lot, kind, start, fin, granted, expired, voided, reclaimed =
    string.match(given, '^(%d+):([PGB]):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)$')
  if not lot then
    broken('a source can not be read')
  end
  return {
    lot = tonumber(lot), kind = kind, start = tonumber(start), fin = tonumber(fin),
    granted = tonumber(granted), expired = tonumber(expired), voided = tonumber(voided),
    reclaimed = tonumber(reclaimed),
  }
end

-- Reading ------------------------------------------------------------------------------------------------------------

local function burns_before(a, b)
  if PRIORITY[a.kind] ~= PRIORITY[b.kind] then
    return PRIORITY[a.kind] < PRIORITY[b.kind]
  elseif a.fin ~= b.fin then
    return a.fin < b.fin
  elseif a.start ~= b.start then
    return a.start < b.start
  end
  return a.no < b.no
end

local function by_id(a, b)
  return a.id < b.id
end

local function in_order(a, b)
  return a.order < b.order
end

local PARSE = { H = parse_hold, E = parse_expired, J = parse_job }
local WRITE = { H = hold_text, E = expired_text, J = job_text }
local DUE = { H = 'deadline', E = 'settle_until', J = 'correct_until' }
local SCALARS = { 'q', 't', 'g', 'v', 'd', 'p', 'n', 'x' }

local function scalar(field)
  return old[field] and number(old[field]) or 0
end

local function load()
  old, entries, sources, touched = {}, {}, {}, {}
  local lots, kept, count = {}, {}, { H = 0, E = 0, J = 0 }
  local stored = redis.call('HGETALL', KEYS[1])
  for i = 1, #stored, 2 do
    local field, value = stored[i], stored[i + 1]
    local kind = string.sub(field, 1, 1)
    if count[kind] then
      kept[field], count[kind] = value, count[kind] + 1
    elseif kind == 'L' then
      lots[#lots + 1] = string.sub(field, 2)
      old[field] = value
    else
      old[field] = value
    end
  end
  if old.f and old.f ~= FORMAT then
    broken('its books have format ' .. old.f .. ', which this version does not know')
  end
  -- Written out: a table that grows field by field is made anew four times.
  was = {
    q = scalar('q'), t = scalar('t'), g = scalar('g'), v = scalar('v'),
    d = scalar('d'), p = scalar('p'), n = scalar('n'), x = scalar('x'),
  }
  A = {
    lots = lots, kept = kept, count = count, stored = {},
    q = was.q, t = was.t, g = was.g, v = was.v, d = was.d, p = was.p, n = was.n, x = was.x,
  }
  for place, no in ipairs(lots) do
    local source = old['S' .. no]
    lots[place] = parse_lot(no, old['L' .. no], source)
    A.stored[no] = source or false
  end
  table.sort(lots, burns_before)
end

-- What is kept of a call, if there is something: H its hold, E its hold that expired, J its job.
local function kept(kind, call)
  local field = kind .. call
  local one = A.kept[field]
  if type(one) == 'string' then
    one = PARSE[kind](call, one)
    A.kept[field] = one
  end
  return one
end

local function keep(kind, one)
  local field = kind .. one.id
  if not A.kept[field] then
    A.count[kind] = A.count[kind] + 1
  end
  A.kept[field], touched[field] = one, true
  A.returns = kind ~= 'J' and A.returns or nil
  A.x = math.min(A.x, one[DUE[kind]])
end

local function drop(kind, call)
  local field = kind .. call
  A.kept[field], touched[field] = nil, true
  A.returns = kind ~= 'J' and A.returns or nil
  A.count[kind] = A.count[kind] - 1
end

local function all(kind, order)
  local list = {}
  for field in pairs(A.kept) do
    if string.sub(field, 1, 1) == kind then
      list[#list + 1] = kept(kind, string.sub(field, 2))
    end
  end
  table.sort(list, order)
  return list
end

-- Whether something of what is kept may be due.
local function is_due()
  return now >= A.x
end

local function next_due()
  local first = FOREVER
  for field in pairs(A.kept) do
    local kind = string.sub(field, 1, 1)
    first = math.min(first, kept(kind, string.sub(field, 2))[DUE[kind]])
  end
  return first
end

local function source_named(name)
  if sources[name] == nil then
    local stored = redis.call('HGET', KEYS[2], name)
    sources[name] = stored and { value = parse_source(stored), text = stored } or false
  end
  return sources[name] or nil
end

-- Books --------------------------------------------------------------------------------------------------------------

local function unheld(lot)
  return at_least_nothing(lot.remaining - lot.held)
end

local function is_open(lot)
  return lot.start <= now and now < lot.fin
end

local function sum(parts)
  local total = 0
  for _, part in ipairs(parts) do
    total = capped(total + part.amount)
  end
  return total
end

local function lot_numbered(no)
  for _, lot in ipairs(A.lots) do
    if lot.no == no then
      return lot
    end
  end
end

local function lot_of(part)
  return lot_numbered(part.lot) or broken('lot ' .. text(part.lot) .. ' is not there')
end

local function reserve(parts)
  for _, part in ipairs(parts) do
    local lot = lot_of(part)
    lot.held = more(lot.held, part.amount, 'hold')
  end
end

local function unreserve(hold)
  drop('H', hold.id)
  for _, part in ipairs(hold.parts) do
    local lot = lot_of(part)
    lot.held = less(lot.held, part.amount, 'release')
  end
end

local function take(parts)
  for _, part in ipairs(parts) do
    local lot = lot_of(part)
    lot.remaining = less(lot.remaining, part.amount, 'lot')
  end
end

-- The lots from which open jobs were paid, and whether one of them owes. Counted once for all lots, and anew when a job has
-- changed: a step may write a thousand entries, and each looks for lots that nobody needs any more.
local function returns()
  if not A.returns then
    local lots, is_owed = {}, false
    for field, job in pairs(A.count.J > 0 and A.kept or {}) do
      if string.sub(field, 1, 1) == 'J' then
        local owed, parts = string.match(
          type(job) == 'string' and job or job.text, '^%d+:%d+:%d+:(%d+):([%d=,]*) ')
        is_owed = is_owed or owed ~= '0'
        for lot in string.gmatch(parts or '', '(%d+)=') do
          lots[tonumber(lot)] = true
        end
      end
    end
    A.returns = { lots = lots, is_owed = is_owed }
  end
  return A.returns
end

-- Whether a correction may give credits back to the lot. What repaid a job's debt goes to whichever lots are open; the rest
-- goes where it came from, to expire there if it must: a refund doesn't ask for what has.
local function may_return(lot)
  local from = returns()
  return from.lots[lot.no] or now < lot.fin and from.is_owed
end

-- A refund made `owed` of what was used of the lot a debt. What open jobs used of it may turn out to be too much: then it
-- is this debt that goes, also when the lot has ended or the gate is closed.
local function ask_back(no, owed)
  local left = owed
  for _, job in ipairs(left > 0 and A.count.J > 0 and all('J', in_order) or {}) do
    local head, job_owed, parts, rest =
      string.match(job.text, '^(%d+:%d+:%d+:)(%d+):([%d=,]*)( .*)$')
    local asked, kept_parts = 0, {}
    for _, part in ipairs(now < job.correct_until and parse_parts(parts or '') or {}) do
      local portion = part.lot == no and math.min(part.amount, left) or 0
      left, asked, part.amount = left - portion, asked + portion, part.amount - portion
      if part.amount > 0 then
        kept_parts[#kept_parts + 1] = part
      end
    end
    if asked > 0 then
      local sum_owed = text(capped(tonumber(job_owed) + asked))
      job.text = head .. sum_owed .. ':' .. parts_text(kept_parts) .. rest
      keep('J', job)
    end
  end
end

-- Drops those of a kind that are due, and the first of those beyond the most that are kept.
local function drop_due(kind, most)
  if is_due() or A.count[kind] > most then
    for _, one in ipairs(all(kind, in_order)) do
      if now < one[DUE[kind]] and A.count[kind] <= most then
        return
      end
      drop(kind, one.id)
    end
  end
end

-- Drops what no rule needs any more. Jobs and expired holds stand in the order in which they go.
local function forget()
  drop_due('J', JOBS_MAX)
  for place = #A.lots, 1, -1 do
    local lot = A.lots[place]
    local current_plan = lot.kind == 'P' and now < lot.fin
    if lot.remaining == 0 and not current_plan and not may_return(lot) then
      table.remove(A.lots, place)
    end
  end
  drop_due('E', HOLDS_MAX)
end

local function balance()
  local total = 0
  for _, lot in ipairs(A.lots) do
    total = total + lot.remaining
  end
  return total - A.d
end

local function short(hold_id)
  return hold_id == id and '=' or hold_id
end

-- Writes the next entry, once the books have changed.
local function record(fact, ...)
  forget()
  A.q, A.t = A.q + 1, now
  local words = { string.format('%d %d %s %d %s', A.q, now, id, balance(), fact) }
  for _, word in ipairs({ ... }) do
    if type(word) == 'number' then
      word = text(word)
    elseif type(word) == 'table' then
      word = #word > 0 and parts_text(word) or '-'
    end
    words[#words + 1] = word
  end
  entries[#entries + 1] = table.concat(words, ' ')
end

-- The sum of all holds is compared where all of them are read anyway. Elsewhere it is the auditor's to find.
local function check()
  local held, own = {}, kept('H', id)
  local compares = is_due() or A.count.H == (own and 1 or 0)
  for _, hold in ipairs(is_due() and all('H', by_id) or { own }) do
    for _, part in ipairs(hold.parts) do
      held[part.lot] = (held[part.lot] or 0) + part.amount
    end
    if hold.done > sum(hold.parts) then
      broken('hold ' .. hold.id .. ': more work done than held')
    end
  end
  for _, lot in ipairs(A.lots) do
    if lot.held > lot.remaining or lot.remaining > lot.granted then
      broken('lot ' .. text(lot.no) .. ': held <= remaining <= granted fails')
    elseif compares and lot.held ~= (held[lot.no] or 0) then
      broken('lot ' .. text(lot.no) .. ': held is not the sum of open holds')
    end
  end
end

-- What could be spent: active plan gift purchased held debt plan_end, which is - without a plan lot.
local function funds()
  local sums, held, plan_end = { P = 0, G = 0, B = 0 }, 0, '-'
  for _, lot in ipairs(A.lots) do
    if is_open(lot) then
      if lot.kind == 'P' then
        plan_end = text(lot.fin)
      end
      sums[lot.kind] = capped(sums[lot.kind] + unheld(lot))
      held = capped(held + lot.held)
    end
  end
  local active = now < A.g and 1 or 0
  return string.format('%d %d %d %d %d %d %s', active, sums.P, sums.G, sums.B, held, A.d, plan_end)
end

-- Operations ---------------------------------------------------------------------------------------------------------

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
  for _, part in ipairs(parts) do
    local portion = math.min(part.amount, left)
    if portion > 0 then
      taken[#taken + 1] = { lot = part.lot, amount = portion }
      left = left - portion
    end
  end
  return taken
end

local function unheld_parts(amount)
  local parts, missing = {}, amount
  for _, lot in ipairs(A.lots) do
    local portion = is_open(lot) and math.min(unheld(lot), missing) or 0
    if portion > 0 then
      parts[#parts + 1] = { lot = lot.no, amount = portion }
      missing = missing - portion
    end
  end
  return parts, missing
end

local function expire_holds()
  for _, hold in ipairs(is_due() and all('H', by_id) or {}) do
    if hold.deadline <= now then
      local parts, settle_until = first_of(hold.parts, hold.done), later(REMEMBERED)
      unreserve(hold)
      take(parts)
      keep('E', { id = hold.id, order = A.q + 1, charged = hold.done, settle_until = settle_until })
      record('hold_expired', short(hold.id), hold.done, parts, settle_until)
    end
  end
end

local function next_ended()
  for _, lot in ipairs(A.lots) do
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
    if lot.source then
      local source = source_named(lot.source)
      if source then
        source.value.expired = capped(source.value.expired + amount)
      end
    end
    record('lot_expired', lot.no, amount)
    lot = next_ended()
  end
end

local function carry_out_due()
  expire_holds()
  expire_lots()
  if now < A.g and A.d > 0 then
    local parts = unheld_parts(A.d)
    if #parts > 0 then
      take(parts)
      A.d = less(A.d, sum(parts), 'debt')
      record('repay', parts)
    end
  end
end

local function open_lot(kind, start, fin, amount, source)
  local no, repaid = A.n + 1, math.min(A.d, amount)
  A.d = less(A.d, repaid, 'debt')
  if kind == 'P' then
    -- One plan lot at a time: a new period ends the one before it.
    for _, lot in ipairs(A.lots) do
      if lot.kind == 'P' then
        lot.fin = math.min(lot.fin, now)
      end
    end
    A.p = start
  end
  A.n = no
  A.lots[#A.lots + 1] = {
    no = no, kind = kind, source = source, start = start, fin = fin,
    granted = amount, remaining = amount - repaid, held = 0,
  }
  table.sort(A.lots, burns_before)
  record('grant', no, kind, start, fin, amount, repaid, source)
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
  record('gate', gate_until, version)
  return 'gated 0'
end

function operations.plan(allowance)
  allowance = number(allowance, MAX)
  for _, lot in ipairs(A.lots) do
    if lot.kind == 'P' and is_open(lot) then
      local used = at_least_nothing(lot.granted - lot.remaining)
      local remaining = math.max(at_least_nothing(allowance - used), lot.held)
      local change = remaining - lot.remaining
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
        record('plan', lot.no, allowance, change)
      end
      return 'planned ' .. text(change)
    end
  end
  return 'planned 0'
end

function operations.hold(amount, ttl, version, start, fin, allowance)
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
  record('hold', short(id), amount, deadline, parts)
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
  record('extend', short(id), added, hold.deadline, hold.done)
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
  keep('J', {
    id = id, order = order, correct_until = correct_until,
    text = string.format('%d:%d:%d:%d:%s %s', order, correct_until, charged, owed, parts_text(parts), job),
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
  for _, part in ipairs(overrun) do
    parts[#parts + 1] = part
  end
  if hold then
    unreserve(hold)
  else
    drop('E', id)
  end
  local begun = await_job(job, capped(before + charged), owed, parts)
  take(parts)
  A.d = more(A.d, owed, 'debt')
  local words = { told(work) }
  words[#words + 1] = begun
  record(hold and 'settle' or 'settle_late', short(id), charged, parts, owed, unpack(words))
  return 'settled ' .. text(charged) .. ' ' .. text(owed)
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
  record('release', short(id))
  return 'released'
end

-- Charges a call that was let through while the ledger was away: a settlement, if its hold was placed after all.
function operations.charge(amount, work, job, start, fin, allowance)
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
  local words = { told(work) }
  words[#words + 1] = begun
  record('charge', short(id), amount, parts, owed, unpack(words))
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
  local before, job_owed, job_parts =
    string.match(job.text, '^%d+:%d+:(%d+):(%d+):([%d=,]*) ')
  if not before then
    broken('a job can not be read')
  end
  before, job_owed, job_parts = tonumber(before), tonumber(job_owed), parse_parts(job_parts)
  local back, repaid, lost = returned(at_least_nothing(before - amount), job_owed, job_parts)
  local parts, owed = unheld_parts(at_least_nothing(amount - before))
  if A.d + owed > MAX or not has_room(sum(back)) then
    return '!too_much'
  end
  drop('J', call)
  for _, part in ipairs(back) do
    local lot = lot_of(part)
    lot.remaining = more(lot.remaining, part.amount, 'lot')
  end
  take(parts)
  A.d = more(less(A.d, repaid, 'debt'), owed, 'debt')
  record('correct', short(call), amount, before, back, repaid, lost, parts, owed, told(work))
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
  record('void', source.lot, total, taken, owed, name)
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

-- What was asked before -----------------------------------------------------------------------------------------------

-- Steps that leave no room for another one under the same id: the books forget a call once it is resolved, and a hold
-- that arrives after its call was charged or given up would never be resolved.
local RIVALS = { charge = { 'settle', 'release' }, hold = { 'charge', 'release' } }

-- A release that found no hold has given up the call all the same.
local function was_done(name, stored)
  return stored and (name == 'release' or string.find(stored, '^%x+ [^!]')) and true or false
end

-- The refusal where one of the rivals was done; `first` and `second` are what is remembered of them.
local function rivalry(operation, first, second)
  for place, stored in ipairs({ first, second }) do
    local name = RIVALS[operation][place]
    if was_done(name, stored) then
      return operation == 'hold' and name == 'charge' and '!conflict' or '!already_resolved'
    end
  end
end

local function ruled_out(operation)
  local rivals = RIVALS[operation]
  local stored = redis.call('HMGET', KEYS[3], id .. '.' .. rivals[1], id .. '.' .. rivals[2])
  return rivalry(operation, stored[1], stored[2])
end

-- The outcome of this very step, if it was carried out before; a conflict if it brings other arguments; too old if
-- nobody could tell any more; or, where the operation is told, the refusal if another step rules it out.
local function answered(field, fingerprint, operation)
  if math.min(made_at + REMEMBERED, FOREVER) < clock then
    return '!too_old'
  end
  local rivals = RIVALS[operation or '']
  local stored = rivals
    and redis.call('HMGET', KEYS[3], field, id .. '.' .. rivals[1], id .. '.' .. rivals[2])
    or redis.call('HMGET', KEYS[3], field)
  if stored[1] then
    local known, outcome = string.match(stored[1], '^(%x+) (.+)$')
    return known == fingerprint and outcome or '!conflict'
  end
  return rivals and rivalry(operation, stored[2], stored[3])
end

local function clock_of(given)
  if given ~= '' then
    return number(given, FOREVER)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Writing ------------------------------------------------------------------------------------------------------------

-- What is to be written: lists of arguments, complete, so that writing them can't fail.
local function prepare(memory_field, memory)
  local set, gone, changed = {}, {}, {}
  local is_new = #entries > 0 and not old.q
  local function put(field, value)
    set[#set + 1] = field
    set[#set + 1] = value
  end
  if #entries > 0 then
    if is_due() then
      A.x = next_due()
    end
    if old.f ~= FORMAT then
      put('f', FORMAT)
    end
    for _, field in ipairs(SCALARS) do
      if A[field] ~= was[field] or not old[field] then
        put(field, text(A[field]))
      end
    end
    local there = {}
    for _, lot in ipairs(A.lots) do
      local no, value = text(lot.no), lot_text(lot)
      there[no] = true
      if lot.text ~= value then
        put('L' .. no, value)
      end
      if lot.source and not old['S' .. no] then
        put('S' .. no, lot.source)
      end
    end
    for no, source in pairs(A.stored) do
      if not there[no] then
        gone[#gone + 1] = 'L' .. no
        gone[#gone + 1] = source and 'S' .. no or nil
      end
    end
    for field in pairs(touched) do
      local one = A.kept[field]
      if one then
        put(field, WRITE[string.sub(field, 1, 1)](one))
      else
        gone[#gone + 1] = field
      end
    end
    -- This fails here, and not later, if the key holds something else. The others were read.
    redis.call('XLEN', KEYS[4])
  end
  for name, source in pairs(sources) do
    local value = source and source_text(source.value)
    if source and value ~= source.text then
      changed[#changed + 1] = name
      changed[#changed + 1] = value
    end
  end
  if is_new then
    redis.call('ZCARD', KEYS[5])
  end
  local hour_end = made_at - made_at % HOUR + HOUR
  return {
    set = set, gone = gone, changed = changed, is_new = is_new,
    memory_field = memory_field, memory = memory,
    memory_millis = text(hour_end + 73 * HOUR - clock),
  }
end

-- Lua can't hand over more than some thousand arguments at once.
local function in_portions(command, key, list)
  for first = 1, #list, 1000 do
    redis.call(command, key, unpack(list, first, math.min(first + 999, #list)))
  end
end

local function write(plan)
  in_portions('HSET', KEYS[1], plan.set)
  in_portions('HDEL', KEYS[1], plan.gone)
  in_portions('HSET', KEYS[2], plan.changed)
  if plan.is_new then
    redis.call('ZADD', KEYS[5], 0, account)
  end
  for _, entry in ipairs(entries) do
    redis.call('XADD', KEYS[4], '*', 'a', account, 'e', entry)
  end
  if plan.memory then
    redis.call('HSET', KEYS[3], plan.memory_field, plan.memory)
    redis.call('PEXPIRE', KEYS[3], plan.memory_millis)
  end
end

-- One question ---------------------------------------------------------------------------------------------------------

-- Who asks and when, and the account's books.
local function begin()
  account, id, made_at = ARGV[1], ARGV[3], number(ARGV[4], FOREVER)
  clock = clock_of(ARGV[2])
  load()
  now = math.max(clock, A.t)
end

-- What `decide` says, once it is written; nothing, and why, if the books would break a rule: nothing is written then.
local function carried_out(decide)
  local ok, result = pcall(decide)
  if not ok then
    return nil, { 'broken', type(result) == 'table' and result.err or tostring(result) }
  end
  if result.plan then
    write(result.plan)
  end
  return result
end

-- Makes `answer` a function of the library. `flag`: what the server must know of it.
local function serve(name, answer, flag)
  redis.register_function({
    function_name = LIBRARY .. '_' .. name, flags = { flag },
    callback = function(keys, args)
      KEYS, ARGV = keys, args
      return answer()
    end,
  })
end
