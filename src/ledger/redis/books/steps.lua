-- What surrounds an operation: whether it was carried out before, and what is written of it. Follows operations.lua.

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
