-- The books of an account in memory: what is reserved and taken, what falls due, what is entered in the log, and what could be
-- spent. The twin of src/credit/account.rs. Follows stored.lua.

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
