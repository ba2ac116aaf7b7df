-- The rules of money in Redis: the twin of src/credit (apply.rs, account.rs), function by function. It decides and
-- writes in one step. apply.lua, owned.lua, change.lua and claim.lua, which follow this text, say what is asked and what
-- is answered. Together they are one library of functions, which a server keeps and need not make anew for each step.
--
-- An error in a script does not undo its earlier writes. So everything is read and computed first, inside `plan_step`,
-- where an error leaves no trace; `write` comes last and has nothing in it that can fail but its first command.
--
-- Numbers are doubles: exact below 2^53, and printed with `text`, because tostring() turns to exponents at 10^14.
-- Amounts are µ up to 4*10^15, so the sum of two stays exact. Arguments are checked by pattern before they are used.
--
-- KEYS  1 account   hash   f        format, a letter, and numbers: seq I8, clock I6, gate_until I6, version I8, debt I7,
--                                   plan_start I6, lots_opened I4, the instant before which nothing of what H, E and J
--                                   name is due I6 (0 if nobody knows), how many holds I2, expired ones I2, jobs I2 and
--                                   lots I4 there are
--                          L<place> a lot, in the order in which they burn: number and kind I4, start I6, end I6,
--                                   granted I7, remaining I7, held I7, source
--                          H<id>    a hold: deadline I6, done I7, parts
--                          E<id>    one that expired: order I8, charged I7, settle_until I6
--                          J<id>    an open job: order I8, correct_until I6, charged I7, owed I7, how many parts I4,
--                                   parts, job
--       2 sources   hash   source -> number and kind of the lot I4, start I6, end I6, granted I7, expired I7, voided I7,
--                                    reclaimed I7, for ever
--       3 operations hash  id.step -> fingerprint outcome; one for each hour of the ids, gone 73 h after it; x -> 1
--                          once it was told when it goes
--       4 log       stream a account, e entry
--       5 names     sorted set of the shard's accounts
-- I8 is a number of eight bytes, the lowest first: packed, a step needs half the time that it takes to read digits, and
-- the hash stays compact as long as no value has more than 64 bytes. A step reads the fields that it concerns; all of
-- them where something is due. `number and kind` is 4 * number + kind, kinds of lots are 0 P plan, 1 G gift, 2 B bought.
-- A part is lot I4, amount I7; in entries they are lot=amount,lot=amount. `order` is the number of the entry that let
-- the hold expire, or charged the job.
--
-- An entry: seq at op balance fact arguments. Facts: grant lot kind start end amount repaid [source] · gate until
-- version · plan lot allowance change · hold id amount deadline parts [feature] · extend id parts deadline done · settle (or
-- settle_late) id charged parts owed [work] [job=…] · charge id charged parts owed [feature=…] [work] [job=…] · correct id charged
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
-- As many as their packed numbers can tell apart.
local LOTS_MAX = 1073741823
local FORMAT = '2'
local HEAD = '<I8I6I6I8I7I6I4I6I2I2I2I4'
local HEAD_COUNTS, COUNTS_AT = '<I2I2I2', 53
local LOT, LOT_BYTES = '<I4I6I6I7I7I7', 37
local SOURCE = '<I4I6I6I7I7I7I7'
local HOLD, HOLD_BYTES = '<I6I7', 13
local EXPIRED = '<I8I7I6'
local JOB, JOB_BYTES = '<I8I6I7I7I4', 32
local JOB_TERMS, TERMS_AT = '<I7I7I4', 15
local PART, PART_BYTES = '<I4I7', 11
local ENTRY = '%d %d %s %d '
local PRIORITY = { P = 10, G = 15, B = 20 }
local KINDS, CODES = { [0] = 'P', 'G', 'B' }, { P = 0, G = 1, B = 2 }
-- The lots that are read in any case. They stand behind the head and the call's hold in what is stored.
local LOTS, LOTS_READ, LOTS_AFTER = { 'L1', 'L2', 'L3' }, 3, 2

-- The keys and arguments of the function that is asked.
local KEYS, ARGV
-- What is asked: the account, the clock, the account's clock, the operation's id and its instant.
local account, clock, now, id, made_at
-- The books, the new entries, and the sources that were looked at. A.stored has the fields that were read first.
local A = { count = {} }
local entries, sources
-- A.kept has holds, expired holds and open jobs by their fields, as texts until somebody looks at them: there may be a
-- thousand, and a step concerns one. One is `false` that is known to be gone, and nothing unless A.is_whole if nobody
-- looked. A.count says how many there are of each, `touched` which of them changed.
local touched
-- Whether the memory of operations knows when it ends.
local is_dated

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
  return sum < MAX and sum or MAX
end

local function at_least_nothing(difference)
  return difference > 0 and difference or 0
end

local function later(millis)
  return math.min(now + millis, FOREVER)
end

-- Texts --------------------------------------------------------------------------------------------------------------

-- For an entry.
local function parts_text(parts)
  local first, texts = parts[1], nil
  if not first then
    return '-'
  elseif not parts[2] then
    return string.format('%d=%d', first.lot, first.amount)
  end
  texts = {}
  for i, part in ipairs(parts) do
    texts[i] = string.format('%d=%d', part.lot, part.amount)
  end
  return table.concat(texts, ',')
end

-- A word of an entry that may be missing.
local function word(given)
  return given and ' ' .. given or ''
end

local function packed_parts(parts)
  local first, texts = parts[1], {}
  if first and not parts[2] then
    return struct.pack(PART, first.lot, first.amount)
  end
  for i = 1, #parts do
    texts[i] = struct.pack(PART, parts[i].lot, parts[i].amount)
  end
  return table.concat(texts)
end

local function unpacked_parts(given, first, last)
  local parts = {}
  for at = first, last, PART_BYTES do
    local lot, amount = struct.unpack(PART, given, at)
    parts[#parts + 1] = { lot = lot, amount = amount }
  end
  return parts
end

-- The text of a lot that did not change is the one that was read: `lot.text`, which goes with the first change.
local function lot_text(lot)
  return struct.pack(LOT, 4 * lot.no + CODES[lot.kind], lot.start, lot.fin, lot.granted, lot.remaining, lot.held)
    .. lot.source
end

-- What is at the first places is read into tables that are made once.
local pool = { {}, {}, {} }

local function parse_lot(place, given)
  if not given then
    broken('a lot is missing')
  end
  local code, start, fin, granted, remaining, held = struct.unpack(LOT, given)
  local kind, lot = code % 4, pool[place] or {}
  lot.no, lot.kind = (code - kind) / 4, KINDS[kind] or broken('a kind of lot was expected')
  lot.start, lot.fin, lot.granted, lot.remaining, lot.held = start, fin, granted, remaining, held
  lot.source, lot.text = string.sub(given, LOT_BYTES + 1), given
  return lot
end

local function hold_text(hold)
  return struct.pack(HOLD, hold.deadline, hold.done) .. packed_parts(hold.parts)
end

local function parse_hold(hold_id, given)
  local deadline, done = struct.unpack(HOLD, given)
  return {
    id = hold_id, deadline = deadline, done = done,
    parts = unpacked_parts(given, HOLD_BYTES + 1, #given),
  }
end

local function parse_expired(hold_id, given)
  local order, charged, settle_until = struct.unpack(EXPIRED, given)
  return { id = hold_id, order = order, charged = charged, settle_until = settle_until }
end

local function expired_text(hold)
  return struct.pack(EXPIRED, hold.order, hold.charged, hold.settle_until)
end

-- A job's lots and what describes it are read when it is corrected.
local function parse_job(call, given)
  local order, correct_until = struct.unpack(JOB, given)
  return { id = call, order = order, correct_until = correct_until, text = given }
end

local function job_text(job)
  return job.text
end

-- What was charged, what of it is owed, from which lots the rest came, and what describes the job.
local function job_terms(given)
  local charged, owed, count = struct.unpack(JOB_TERMS, given, TERMS_AT)
  local last = JOB_BYTES + count * PART_BYTES
  return charged, owed, unpacked_parts(given, JOB_BYTES + 1, last), string.sub(given, last + 1)
end

local function packed_job(order, correct_until, charged, owed, parts, job)
  return struct.pack(JOB, order, correct_until, charged, owed, #parts) .. packed_parts(parts) .. job
end

local function source_text(source)
  return struct.pack(SOURCE, 4 * source.lot + CODES[source.kind], source.start, source.fin, source.granted,
    source.expired, source.voided, source.reclaimed)
end

local function parse_source(given)
  local code, start, fin, granted, expired, voided, reclaimed = struct.unpack(SOURCE, given)
  local kind = code % 4
  return {
    lot = (code - kind) / 4, kind = KINDS[kind], start = start, fin = fin, granted = granted,
    expired = expired, voided = voided, reclaimed = reclaimed,
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

-- Lots beyond those that are read in any case, into `stored`.
local function read_more(stored, count)
  for first = LOTS_READ + 1, count, 1000 do
    local fields = {}
    for place = first, math.min(first + 999, count) do
      fields[#fields + 1] = 'L' .. place
    end
    for i, lot in ipairs(redis.call('HMGET', KEYS[1], unpack(fields))) do
      stored[LOTS_AFTER + first + i - 1] = lot
    end
  end
end

local function load()
  local own, count, lots = 'H' .. id, A.count, {}
  local stored = redis.call('HMGET', KEYS[1], 'f', own, 'L1', 'L2', 'L3')
  local head, number_of_lots = stored[1], 0
  entries, sources, touched = {}, {}, {}
  A.lots, A.stored, A.kept, A.returns, A.is_whole = lots, stored, { [own] = stored[2] }, nil, not head
  if head then
    local format = string.sub(head, 1, 1)
    if format ~= FORMAT then
      broken('its books have format ' .. format .. ', which this version does not know')
    end
    A.q, A.t, A.g, A.v, A.d, A.p, A.n, A.x, count.H, count.E, count.J, number_of_lots =
      struct.unpack(HEAD, head, 2)
  else
    A.q, A.t, A.g, A.v, A.d, A.p, A.n, A.x, count.H, count.E, count.J = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
  end
  if number_of_lots > LOTS_READ then
    read_more(stored, number_of_lots)
  end
  A.lots_stored = number_of_lots
  for place = 1, number_of_lots do
    lots[place] = parse_lot(place, stored[LOTS_AFTER + place])
  end
end

-- All that is kept of calls: `f` says how much there must be.
local function read_all()
  if A.is_whole then
    return
  end
  A.is_whole = true
  local found, fields = { H = 0, E = 0, J = 0 }, redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    local field = fields[i]
    local kind = string.sub(field, 1, 1)
    if found[kind] then
      found[kind] = found[kind] + 1
      if A.kept[field] == nil then
        A.kept[field] = fields[i + 1]
      end
    end
  end
  local holds, expired, jobs = struct.unpack(HEAD_COUNTS, A.stored[1], COUNTS_AT)
  if found.H ~= holds or found.E ~= expired or found.J ~= jobs then
    broken('there are other holds or jobs than were counted')
  end
end

-- What is kept of a call, if there is something: H its hold, E its hold that expired, J its job.
local function kept(kind, call)
  if A.count[kind] == 0 then
    return nil
  end
  local field = kind .. call
  local one = A.kept[field]
  if one == nil and not A.is_whole then
    one = redis.call('HGET', KEYS[1], field)
    A.kept[field] = one
  end
  if type(one) == 'string' then
    one = PARSE[kind](call, one)
    A.kept[field] = one
  end
  return one or nil
end

local function keep(kind, one)
  local field = kind .. one.id
  if not A.kept[field] then
    A.count[kind] = A.count[kind] + 1
  end
  A.kept[field], touched[#touched + 1] = one, field
  A.returns = kind ~= 'J' and A.returns or nil
  if one[DUE[kind]] < A.x then
    A.x = one[DUE[kind]]
  end
end

local function drop(kind, call)
  local field = kind .. call
  A.kept[field], touched[#touched + 1] = false, field
  A.returns = kind ~= 'J' and A.returns or nil
  A.count[kind] = A.count[kind] - 1
end

local function all(kind, order)
  local list = {}
  if A.count[kind] > 0 then
    read_all()
  end
  for field, one in pairs(A.kept) do
    if one and string.sub(field, 1, 1) == kind then
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
  read_all()
  for field, one in pairs(A.kept) do
    if one then
      local kind = string.sub(field, 1, 1)
      first = math.min(first, kept(kind, string.sub(field, 2))[DUE[kind]])
    end
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
  local rest = lot.remaining - lot.held
  return rest > 0 and rest or 0
end

local function is_open(lot)
  return lot.start <= now and now < lot.fin
end

local function sum(parts)
  local total = 0
  for i = 1, #parts do
    total = total + parts[i].amount
  end
  return capped(total)
end

local function lot_numbered(no)
  local lots = A.lots
  for i = 1, #lots do
    if lots[i].no == no then
      return lots[i]
    end
  end
end

local function lot_of(part)
  return lot_numbered(part.lot) or broken('lot ' .. text(part.lot) .. ' is not there')
end

local function reserve(parts)
  for i = 1, #parts do
    local lot = lot_of(parts[i])
    lot.held, lot.text = more(lot.held, parts[i].amount, 'hold'), nil
  end
end

local function unreserve(hold)
  drop('H', hold.id)
  for i = 1, #hold.parts do
    local lot = lot_of(hold.parts[i])
    lot.held, lot.text = less(lot.held, hold.parts[i].amount, 'release'), nil
  end
end

local function take(parts)
  for i = 1, #parts do
    local lot = lot_of(parts[i])
    lot.remaining, lot.text = less(lot.remaining, parts[i].amount, 'lot'), nil
  end
end

-- The lots from which open jobs were paid, and whether one of them owes. Counted once for all lots, and anew when a job has
-- changed: a step may write a thousand entries, and each looks for lots that nobody needs any more.
local function returns()
  if not A.returns then
    local lots, is_owed = {}, false
    if A.count.J > 0 then
      read_all()
    end
    for field, job in pairs(A.count.J > 0 and A.kept or {}) do
      if job and string.sub(field, 1, 1) == 'J' then
        local _, owed, parts = job_terms(type(job) == 'string' and job or job.text)
        is_owed = is_owed or owed > 0
        for _, part in ipairs(parts) do
          lots[part.lot] = true
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
    local charged, job_owed, parts, description = job_terms(job.text)
    local asked, kept_parts = 0, {}
    for _, part in ipairs(now < job.correct_until and parts or {}) do
      local portion = part.lot == no and math.min(part.amount, left) or 0
      left, asked, part.amount = left - portion, asked + portion, part.amount - portion
      if part.amount > 0 then
        kept_parts[#kept_parts + 1] = part
      end
    end
    if asked > 0 then
      job.text = packed_job(job.order, job.correct_until, charged, capped(job_owed + asked), kept_parts, description)
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
    if lot.remaining == 0 then
      local current_plan = lot.kind == 'P' and now < lot.fin
      if not current_plan and not may_return(lot) then
        table.remove(A.lots, place)
      end
    end
  end
  drop_due('E', HOLDS_MAX)
end

local function balance()
  local total, lots = 0, A.lots
  for i = 1, #lots do
    total = total + lots[i].remaining
  end
  return total - A.d
end

local function short(hold_id)
  return hold_id == id and '=' or hold_id
end

-- Writes the next entry, once the books have changed. `fact`: its name, and the forms of its arguments.
local function record(fact, ...)
  forget()
  A.q, A.t = A.q + 1, now
  entries[#entries + 1] = string.format(ENTRY .. fact, A.q, now, id, balance(), ...)
end

-- The sum of all holds is compared where all of them are read anyway. Elsewhere it is the auditor's to find.
local function check()
  local held, own = {}, kept('H', id)
  local compares = is_due() or A.count.H == (own and 1 or 0)
  local holds = is_due() and all('H', by_id) or { own }
  for i = 1, #holds do
    local parts = holds[i].parts
    for k = 1, compares and #parts or 0 do
      local part = parts[k]
      held[part.lot] = (held[part.lot] or 0) + part.amount
    end
    if holds[i].done > sum(parts) then
      broken('hold ' .. holds[i].id .. ': more work done than held')
    end
  end
  local lots = A.lots
  for i = 1, #lots do
    local lot = lots[i]
    if lot.held > lot.remaining or lot.remaining > lot.granted then
      broken('lot ' .. text(lot.no) .. ': held <= remaining <= granted fails')
    elseif compares and lot.held ~= (held[lot.no] or 0) then
      broken('lot ' .. text(lot.no) .. ': held is not the sum of open holds')
    end
  end
end

-- What could be spent: active plan gift purchased held debt plan_end, which is - without a plan lot.
local function funds()
  local plan, gift, bought, held, plan_end, lots = 0, 0, 0, 0, '-', A.lots
  -- Written out: each step asks this of each lot.
  for i = 1, #lots do
    local lot = lots[i]
    local kind, rest = lot.kind, lot.remaining - lot.held
    if now < lot.start or lot.fin <= now then
      rest = 0
    else
      held = held + lot.held
      plan_end = kind == 'P' and text(lot.fin) or plan_end
    end
    if rest > 0 and kind == 'P' then
      plan = plan + rest
    elseif rest > 0 and kind == 'G' then
      gift = gift + rest
    elseif rest > 0 then
      bought = bought + rest
    end
  end
  local active = now < A.g and 1 or 0
  return string.format('%d %d %d %d %d %d %s', active, capped(plan), capped(gift), capped(bought), capped(held), A.d,
    plan_end)
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
  if not first and not second then
    return nil
  end
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
    and redis.call('HMGET', KEYS[3], field, 'x', id .. '.' .. rivals[1], id .. '.' .. rivals[2])
    or redis.call('HMGET', KEYS[3], field, 'x')
  is_dated = stored[2]
  if stored[1] then
    local known, outcome = string.match(stored[1], '^(%x+) (.+)$')
    return known == fingerprint and outcome or '!conflict'
  end
  return rivals and rivalry(operation, stored[3], stored[4])
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
  local set, size, gone, changed = nil, 0, nil, {}
  local is_new = #entries > 0 and not A.stored[1]
  if #entries > 0 then
    if is_due() then
      A.x = next_due()
    end
    local lots, stored, count = A.lots, A.stored, A.count
    local head = struct.pack(HEAD, A.q, A.t, A.g, A.v, A.d, A.p, A.n, A.x, count.H, count.E, count.J, #lots)
    -- Written out: a table that grows field by field is made anew four times.
    set, size = { 'f', FORMAT .. head, nil, nil, nil, nil, nil, nil }, 2
    for place = 1, #lots do
      local lot = lots[place]
      local value = lot.text or lot_text(lot)
      if value ~= stored[LOTS_AFTER + place] then
        set[size + 1], set[size + 2], size = LOTS[place] or 'L' .. place, value, size + 2
      end
    end
    for place = #lots + 1, A.lots_stored do
      gone = gone or {}
      gone[#gone + 1] = 'L' .. place
    end
    for i = 1, #touched do
      local field = touched[i]
      local one = A.kept[field]
      if one then
        set[size + 1], set[size + 2], size = field, WRITE[string.sub(field, 1, 1)](one), size + 2
      else
        gone = gone or {}
        gone[#gone + 1] = field
      end
    end
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
  return {
    set = set, size = size, gone = gone, changed = changed, is_new = is_new,
    memory_field = memory_field, memory = memory,
    memory_millis = memory and not is_dated and text(made_at - made_at % HOUR + 74 * HOUR - clock),
  }
end

-- Lua can't hand over more than some thousand arguments at once.
local function in_portions(command, key, list, size)
  for first = 1, size, 1000 do
    redis.call(command, key, unpack(list, first, math.min(first + 999, size)))
  end
end

-- Says what is wrong if the log's key holds something else: then nothing is written. The other keys were read.
local function write(plan)
  for i = 1, #entries do
    local added = redis.pcall('XADD', KEYS[4], '*', 'a', account, 'e', entries[i])
    if type(added) == 'table' then
      return added.err
    end
  end
  in_portions('HSET', KEYS[1], plan.set, plan.size)
  if plan.gone then
    in_portions('HDEL', KEYS[1], plan.gone, #plan.gone)
  end
  in_portions('HSET', KEYS[2], plan.changed, #plan.changed)
  if plan.is_new then
    redis.call('ZADD', KEYS[5], 0, account)
  end
  if plan.memory_millis then
    redis.call('HSET', KEYS[3], plan.memory_field, plan.memory, 'x', '1')
    redis.call('PEXPIRE', KEYS[3], plan.memory_millis)
  elseif plan.memory then
    redis.call('HSET', KEYS[3], plan.memory_field, plan.memory)
  end
end

-- One question ---------------------------------------------------------------------------------------------------------

-- Who asks and when, and the account's books.
local function begin()
  account, id, made_at = ARGV[1], ARGV[3], number(ARGV[4], FOREVER)
  clock = clock_of(ARGV[2])
  load()
  now = clock > A.t and clock or A.t
end

-- What `decide` says, once it is written; nothing, and why, if the books would break a rule: nothing is written then.
local function carried_out(decide)
  local ok, result = pcall(decide)
  if not ok then
    return nil, { 'broken', type(result) == 'table' and result.err or tostring(result) }
  end
  local refused = result.plan and write(result.plan)
  if refused then
    return nil, { 'broken', refused }
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
