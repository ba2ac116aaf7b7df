-- One change of the directory, once, with the operation on the account's books that goes with it.
--
-- KEYS  6 record  hash  version plan anchor zone created when_exhausted (402, 429, or nothing: as the
--         plan says)
--       7 keys    hash  SHA-256 of a key -> id created ends revoked prefix name; ends and revoked are - until they are
-- ARGV  1 to 4 as in apply.lua  5 fingerprint  6 change  7… its arguments: create plan anchor zone created gate_until
--       when_exhausted · gate until · plan plan allowance · when_exhausted status · issue hash id created ends prefix name · revoke hash
-- Returns { outcome, version, plan, anchor, zone, created, when_exhausted }: the outcome alone where there is no record;
-- or { 'broken', reason }, and nothing is written then.

local stored_record, new_record, new_key

local function load_record()
  local stored = redis.call('HGETALL', KEYS[6])
  for i = 1, #stored, 2 do
    stored_record = stored_record or {}
    stored_record[stored[i]] = stored[i + 1]
  end
end

-- The next version of `record`, in the directory and in the account's books.
local function raise(record, gate_until)
  local version = text(number(record.version) + 1)
  local outcome = step('gate', gate_until or text(A.g), version)
  if string.sub(outcome, 1, 1) == '!' then
    return outcome
  end
  new_record = {
    version = version, plan = record.plan, anchor = record.anchor, zone = record.zone,
    created = record.created, when_exhausted = record.when_exhausted or '',
  }
  return 'done'
end

local changes = {}

function changes.create(plan, anchor, zone, created, gate_until, when_exhausted)
  if stored_record then
    return '!account_exists'
  end
  number(anchor, FOREVER)
  number(created, FOREVER)
  local record = {
    version = '0', plan = plan, anchor = anchor, zone = zone, created = created,
    when_exhausted = when_exhausted,
  }
  return raise(record, gate_until)
end

function changes.gate(gate_until)
  return stored_record and raise(stored_record, gate_until) or '!no_such_account'
end

function changes.plan(plan, allowance)
  if not stored_record then
    return '!no_such_account'
  end
  local outcome = step('plan', allowance)
  if string.sub(outcome, 1, 1) == '!' then
    return outcome
  end
  stored_record.plan = plan
  return raise(stored_record)
end

function changes.when_exhausted(status)
  if not stored_record then
    return '!no_such_account'
  end
  stored_record.when_exhausted = status
  return raise(stored_record)
end

function changes.issue(hash, key_id, created, ends, prefix, name)
  if not stored_record then
    return '!no_such_account'
  end
  if redis.call('HEXISTS', KEYS[7], hash) == 1 then
    return '!conflict'
  end
  new_key = { hash, table.concat({ key_id, created, ends, '-', prefix, name }, ' ') }
  return raise(stored_record)
end

function changes.revoke(hash)
  local key = stored_record and redis.call('HGET', KEYS[7], hash)
  if not key then
    return '!no_such_key'
  end
  local first, revoked, rest = string.match(key, '^(%S+ %S+ %S+) (%S+) (.*)$')
  if not first then
    broken('a key can not be read')
  end
  if revoked == '-' then
    new_key = { hash, first .. ' ' .. text(clock) .. ' ' .. rest }
  end
  return raise(stored_record)
end

local function plan_step()
  begin()
  load_record()
  local field, fingerprint = id .. '.change', ARGV[5]
  local before = answered(field, fingerprint)
  if before then
    return { outcome = before }
  end
  local outcome = changes[ARGV[6]](unpack(ARGV, 7))
  redis.call('HLEN', KEYS[7])
  return { outcome = outcome, plan = prepare(field, fingerprint .. ' ' .. outcome) }
end

local function change()
  stored_record, new_record, new_key = nil, nil, nil
  local result, broken_books = carried_out(plan_step)
  if not result then
    return broken_books
  end
  if result.plan then
    if new_record then
      local r = new_record
      redis.call('HSET', KEYS[6], 'version', r.version, 'plan', r.plan, 'anchor', r.anchor,
        'zone', r.zone, 'created', r.created, 'when_exhausted', r.when_exhausted)
    end
    if new_key then
      redis.call('HSET', KEYS[7], new_key[1], new_key[2])
    end
  end
  local known = new_record or stored_record
  if not known then
    return { result.outcome }
  end
  return {
    result.outcome, known.version, known.plan, known.anchor, known.zone, known.created,
    known.when_exhausted or '',
  }
end

serve('change', change)
