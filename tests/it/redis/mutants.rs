//! Breaks the rules of money in Lua on purpose, one edit at a time: the histories must notice each.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{AT_ONCE, Server, Side, one_of};
use crate::core::history::{self, History};

const BOOKS: &str = concat!(
    include_str!("../../../src/ledger/redis/books/stored.lua"),
    include_str!("../../../src/ledger/redis/books/rules.lua"),
    include_str!("../../../src/ledger/redis/books/operations.lua"),
    include_str!("../../../src/ledger/redis/books/steps.lua"),
);

/// A text that occurs once, and what it becomes.
const MUTANTS: &[(&str, &str)] = &[
    // Numbers and texts.
    ("string.format('%d', number)", "tostring(number)"),
    ("{ P = 10, G = 15, B = 20 }", "{ P = 10, G = 25, B = 20 }"),
    ("local HOLDS_MAX = 1000", "local HOLDS_MAX = 1001"),
    ("local JOBS_MAX = 256", "local JOBS_MAX = 257"),
    ("local REMEMBERED = 259200000", "local REMEMBERED = 259200001"),
    ("if to + amount > MAX then", "if to + amount >= MAX then"),
    // Order.
    ("return a.fin < b.fin", "return a.fin > b.fin"),
    ("return a.start < b.start", "return a.start > b.start"),
    ("return a.order < b.order", "return a.order > b.order"),
    ("return a.id < b.id", "return a.id > b.id"),
    ("  table.sort(A.lots, burns_before)\n", ""),
    ("  table.sort(list, order)\n", ""),
    // What is kept, and when the first of it is due.
    ("A.kept[field], touched[#touched + 1] = one, field", "A.kept[field] = one"),
    ("A.kept[field], touched[#touched + 1] = false, field", "A.kept[field] = false"),
    ("      if A.kept[field] == nil then\n        A.kept", "      if true then\n        A.kept"),
    ("found.H ~= holds or", "found.H == holds or"),
    ("if one == nil and not A.is_whole then", "if false then"),
    ("for first = LOTS_READ + 1, count, 1000 do", "for first = LOTS_READ + 2, count, 1000 do"),
    ("    A.count[kind] = A.count[kind] + 1\n", ""),
    ("  A.count[kind] = A.count[kind] - 1\n", ""),
    ("    A.x = one[DUE[kind]]\n", ""),
    ("return now >= A.x", "return now > A.x"),
    ("    if is_due() then\n      A.x = next_due()\n    end\n", ""),
    ("first = math.min(first, kept(kind", "first = math.max(first, kept(kind"),
    ("kind, string.sub(field, 2))[DUE[kind]])\n", "kind, string.sub(field, 2))[DUE[kind]] + 1)\n"),
    ("if is_due() or A.count[kind] > most then", "if is_due() then"),
    ("if is_due() or A.count[kind] > most then", "if A.count[kind] > most then"),
    ("if now < one[DUE[kind]] and", "if now <= one[DUE[kind]] and"),
    ("A.count[kind] <= most then\n        return", "true then\n        return"),
    ("A.count[kind] <= most then\n        return", "A.count[kind] < most then\n        return"),
    ("  drop_due('J', JOBS_MAX)\n", ""),
    ("  drop_due('E', HOLDS_MAX)\n", ""),
    // Books.
    ("return lot.start <= now and now < lot.fin", "return lot.start < now and now < lot.fin"),
    ("return lot.start <= now and now < lot.fin", "return lot.start <= now and now <= lot.fin"),
    ("local current_plan = lot.kind == 'P' and now < lot.fin", "local current_plan = false"),
    ("return total - A.d\n", "return total\n"),
    ("now < A.g and 1 or 0", "now <= A.g and 1 or 0"),
    // What the clock brings about.
    ("if hold.deadline <= now then", "if hold.deadline < now then"),
    ("first_of(hold.parts, hold.done), later", "first_of(hold.parts, 0), later"),
    ("charged = hold.done, settle_until", "charged = 0, settle_until"),
    ("if lot.fin <= now and unheld(lot) > 0", "if lot.fin < now and unheld(lot) > 0"),
    (
        "source.value.expired = capped(source.value.expired + amount)",
        "source.value.expired = amount",
    ),
    ("if now < A.g and A.d > 0 then", "if A.d > 0 then"),
    ("if now < A.g and A.d > 0 then", "if false then"),
    // Lots.
    ("A.n + 1, math.min(A.d, amount)", "A.n + 1, 0"),
    ("lot.text = math.min(lot.fin, now), nil", "lot.text = now, nil"),
    ("lot.text = math.min(lot.fin, now), nil", "lot.text = math.min(lot.fin, now), lot.text"),
    ("start > A.p and start <= now", "start >= A.p and start <= now"),
    ("start <= now and now < fin\n", "start <= now and now <= fin\n"),
    ("and has_room(allowance) then", "then"),
    ("if fin <= start or fin <= now then", "if fin <= start or fin < now then"),
    ("and known.granted == amount", ""),
    ("return missing <= held and", "return missing < held and"),
    ("math.min(unheld(lot), missing) or 0", "math.min(lot.remaining, missing) or 0"),
    // Operations.
    ("if version <= A.v then", "if version < A.v then"),
    (
        "math.max(at_least_nothing(allowance - used), lot.held)",
        "at_least_nothing(allowance - used)",
    ),
    ("if version ~= A.v then", "if version < A.v then"),
    ("if version ~= A.v then", "if version > A.v then"),
    ("if now >= A.g then\n    return '!inactive'\n  end\n  if may_settle", "if may_settle"),
    ("if may_settle() then\n    return '!conflict'", "if false then\n    return '!conflict'"),
    ("return kept('H', id) or late()", "return kept('H', id)"),
    ("return kept('H', id) or late()", "return late()"),
    ("if A.count.H >= HOLDS_MAX then", "if A.count.H > HOLDS_MAX then"),
    ("if A.d > 0 then\n    return '!owed'", "if false then\n    return '!owed'"),
    ("if extra > 0 and now >= A.g then", "if now >= A.g then"),
    ("math.max(hold.deadline, later(ttl))", "later(ttl)"),
    ("math.max(math.min(done, total), hold.done)", "math.min(done, total)"),
    ("  keep('H', hold)\n", ""),
    ("    unreserve(hold)\n  else\n    drop('E', id)\n", "    unreserve(hold)\n"),
    ("charged = at_least_nothing(amount - before)\n", "charged = amount\n"),
    ("unheld_parts(charged - sum(parts))", "unheld_parts(charged)"),
    ("if may_settle() then\n    return operations", "if false then\n    return operations"),
    ("if now < A.g then\n    if start", "if now <= A.g then\n    if start"),
    ("if now < A.g then\n    if start", "if true then\n    if start"),
    ("if start then\n      open_period", "if false then\n      open_period"),
    ("    parts, owed = unheld_parts(amount)\n", ""),
    (
        "unheld_parts(amount)\n  end\n  if A.d + owed > MAX",
        "unheld_parts(amount)\n  end\n  if A.d + owed >= MAX",
    ),
    (
        "unheld_parts(amount)\n  end\n  if A.d + owed > MAX",
        "unheld_parts(amount)\n  end\n  if owed > MAX",
    ),
    ("amount, owed, parts)\n  take(parts)\n", "amount, owed, parts)\n"),
    (
        "await_job(job, amount, owed, parts)\n  take(parts)\n  A.d = more(A.d, owed, 'debt')",
        "await_job(job, amount, owed, parts)\n  take(parts)\n  A.d = owed",
    ),
    (
        "'charge %s %d %s %d%s%s%s', short(id), amount, parts_text(parts), owed,",
        "'charge %s %d %s %d%s%s%s', short(id), amount, parts_text(parts), 0,",
    ),
    ("return 'settled ' .. text(amount)", "return 'settled ' .. text(amount - owed)"),
    ("total = math.min(total, source.granted)", "total = total"),
    ("at_least_nothing(total - source.voided)", "total"),
    ("source.expired + source.reclaimed) + rest)", "source.expired) + rest)"),
    ("source.expired + source.reclaimed) + rest)", "source.reclaimed) + rest)"),
    ("      lot.text = nil\n", ""),
    ("part.amount, 'lot'), nil", "part.amount, 'lot'), lot.text"),
    // Jobs.
    ("local CORRECTABLE = 3024000000", "local CORRECTABLE = 3024000001"),
    ("and not may_return(lot) then", "then"),
    ("false, field\n  A.returns = kind ~= 'J' and A.returns or nil\n", "false, field\n"),
    ("or now < lot.fin and from.is_owed", "or from.is_owed"),
    ("or now < lot.fin and from.is_owed", ""),
    ("return from.lots[lot.no] or", "return"),
    ("  ask_back(source.lot, owed)\n", ""),
    ("part.lot == no and math.min(part.amount, left) or 0", "math.min(part.amount, left)"),
    ("part.lot == no and math.min(part.amount, left) or 0", "part.lot == no and part.amount or 0"),
    ("job_owed + asked", "asked"),
    ("      keep('J', job)\n", ""),
    ("capped(before + charged), owed, parts)", "charged, owed, parts)"),
    ("await_job(job, amount, owed, parts)", "await_job(job, amount, 0, parts)"),
    ("for place = #job_parts, 1, -1 do", "for place = 1, #job_parts do"),
    ("local owed, back = math.min(amount, job_owed), {}", "local owed, back = 0, {}"),
    ("local repaid, left = math.min(owed, A.d)", "local repaid, left = 0"),
    ("if lot then\n      give", "if lot and now < lot.fin then\n      give"),
    ("capped(left + owed - repaid)", "0"),
    ("if not job or now >= job.correct_until then", "if not job then"),
    ("or not has_room(sum(back)) then", "then"),
    ("  drop('J', call)\n", ""),
    ("A.d = more(less(A.d, repaid, 'debt'), owed, 'debt')", "A.d = more(A.d, owed, 'debt')"),
    // What is remembered, and what is written.
    (
        "outcome = operations[operation](...)\n  carry_out_due()",
        "outcome = operations[operation](...)",
    ),
    ("return known == fingerprint and outcome or '!conflict'", "return outcome"),
    ("elseif expired and expired.charged == 0 then", "elseif expired then"),
    ("elseif expired and expired.charged == 0 then", "elseif false then"),
    ("charge = { 'settle', 'release' }", "charge = { 'settle', 'settle' }"),
    ("charge = { 'settle', 'release' }", "charge = { 'release', 'release' }"),
    ("hold = { 'charge', 'release' }", "hold = { 'charge', 'charge' }"),
    ("hold = { 'charge', 'release' }", "hold = { 'release', 'release' }"),
    ("name == 'charge' and '!conflict'", "'!conflict'"),
    ("return rivals and rivalry(operation, stored[3], stored[4])", "return nil"),
    ("(name == 'release' or string.find(stored, '^%x+ [^!]'))", "string.find(stored, '^%x+ [^!]')"),
    ("string.find(stored, '^%x+ [^!]')", "string.find(stored, '^%x+ ')"),
    ("for place = #lots + 1, A.lots_stored do", "for place = #lots + 2, A.lots_stored do"),
    ("if value ~= stored[LOTS_AFTER + place] then", "if not stored[LOTS_AFTER + place] then"),
    ("if value ~= stored[LOTS_AFTER + place] then", "if place <= LOTS_READ then"),
    ("'f', FORMAT .. head,", "'f', A.stored[1] or FORMAT .. head,"),
    ("source and value ~= source.text", "source and not source.text"),
    ("in_portions('HSET', KEYS[2], plan.changed, #plan.changed)", ""),
    ("redis.call('HSET', KEYS[3], plan.memory_field, plan.memory)", ""),
    ("math.min(first + 999, size)", "math.min(first + 99, size)"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_mutant_of_the_script_is_found_out() {
    // Some edits make a step slow: that is no answer.
    let server = Server::start(&["--busy-reply-threshold", "100000"]);
    let small = |seeds: std::ops::Range<u64>| seeds.map(|seed| one_of(&history::small(), seed));
    let vast = |seeds: std::ops::Range<u64>| seeds.map(|seed| one_of(&history::vast(), seed));
    let crowded = [one_of(&history::crowded(), 0)];
    let first = small(0..20).chain(vast(0..10)).chain(crowded);
    let histories = Arc::new(first.chain(small(20..120)).chain(vast(10..60)).collect::<Vec<_>>());
    let (mut running, mut survivors) = (JoinSet::new(), Vec::new());
    for (number, (before, after)) in MUTANTS.iter().enumerate() {
        assert_eq!(BOOKS.matches(before).count(), 1, "{before:?} does not occur once");
        if running.len() == AT_ONCE {
            survivors.extend(running.join_next().await.unwrap().unwrap());
        }
        let (url, histories) = (server.url(), Arc::clone(&histories));
        running.spawn(async move {
            let books = BOOKS.replace(before, after);
            let survived = survives(&url, &books, number as u64, &histories).await;
            survived.then(|| format!("{before:?} -> {after:?}"))
        });
    }
    while let Some(done) = running.join_next().await {
        survivors.extend(done.unwrap());
    }
    assert!(survivors.is_empty(), "survived:\n{}", survivors.join("\n"));
}

/// Whether no history shows a difference.
async fn survives(url: &str, books: &str, number: u64, histories: &[History]) -> bool {
    for (place, history) in (0..).zip(histories) {
        // Ids and accounts of its own.
        let seed = (number + 1) * 1000 + place;
        let side = Side::open(url, seed, Some(books.to_owned())).await;
        if side.replay(history).await.is_err() {
            return false;
        }
    }
    true
}
