-- The rules of money in Redis, in four parts that are one text: what is stored and how it is read (here), what the books
-- say (rules.lua), what each operation does to them (operations.lua), and what surrounds one (steps.lua). They are the twin
-- of src/credit, function by function, and decide and write in one step. apply.lua, owned.lua, change.lua and claim.lua,
-- which follow, say what is asked and what is answered. Together they are one library of functions, which a server keeps
-- and need not make anew for each step.
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
