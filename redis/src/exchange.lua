-- One exchange of one process with the others of its pool. Times are microseconds of this server's clock.
--
-- KEYS[1] hash: epoch, newest, learns, replicas, and for each limit what was used and who holds what
-- KEYS[2] hash: epoch, and for each limit the facts of the processes
-- KEYS[3] sorted set: limits by the number of their newest fact
-- KEYS[4] sorted set: limits by when to look whether they can be forgotten
local call, pack, read = redis.call, struct.pack, struct.unpack
local STATE, FACTS, NEWS, DUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, number, said_epoch, heard = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local is_last, proposed, units = ARGV[5] == '1', ARGV[6], tonumber(ARGV[7])
local HOLDS, LIVES, LEARNS, EXPIRES = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local joins, says = tonumber(ARGV[12]), tonumber(ARGV[13])
local FIRST = 14
local FORGETS, MOST, LONGEST, MOST_OF_DEAD = 60000000, 4503599627370496, 1048576, 64

local time = call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- The first look at a key. One of another type is as good as none.
local is_lost = false
local function look(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err then
    if not string.find(found.err, 'WRONGTYPE', 1, true) then return error(found.err, 0) end
    is_lost = true
    return false
  end
  return found
end

-- Reads records of a fixed size; none if the text is not made of them. A time that is to come is one of before the
-- clock was set back.
local function records(text, from, format, size)
  local list = {}
  if not text or #text > LONGEST or (#text - from + 1) % size ~= 0 then return list end
  for at = from, #text, size do
    local record = { read(format, text, at) }
    if record[2] > now then record[2] = now end
    for i = 3, #record - 1 do
      if record[i] > MOST then record[i] = 0 end
    end
    list[#list + 1] = record
  end
  return list
end

local found = look('HMGET', STATE, 'epoch', 'newest', 'learns', 'replicas') or {}
local epoch, newest, learns = found[1], tonumber(found[2] or ''), tonumber(found[3] or '') or 0
local guards = { look('HGET', FACTS, 'epoch'), look('ZSCORE', NEWS, 'epoch') }
local due = look('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 2) or {}
local is_whole = epoch and #epoch < 17 and string.match(epoch, '^%d+$') and newest and newest >= 0 and newest < MOST
-- A server that was restored, or a replica that took over, knows less than this process has heard.
local is_old = is_whole and said_epoch == epoch and heard > newest
if is_lost or not is_whole or is_old or guards[1] ~= epoch or tonumber(guards[2] or '') ~= -tonumber(epoch) then
  call('DEL', STATE, FACTS, NEWS, DUE)
  epoch, newest, learns, due, found = proposed, 0, 0, {}, {}
  call('HSET', FACTS, 'epoch', epoch)
  call('ZADD', NEWS, -tonumber(epoch), 'epoch')
end
if said_epoch ~= epoch then
  heard = 0
  -- Others hold what this server does not know of.
  if said_epoch ~= '' and learns == 0 then learns = now + LEARNS end
end
local is_learning = now < learns and learns <= now + LEARNS

-- The processes.
local replicas, live, ids, mine = {}, {}, {}, nil
for _, it in ipairs(records(found[4], 1, '>c16I8I8', 32)) do
  if it[1] == me then
    mine = it
  elseif now < it[2] + LIVES then
    replicas[#replicas + 1], live[it[1]] = it, it[2]
  end
end
-- It is late, or comes twice.
if mine and number <= mine[3] then return { epoch } end
if not is_last then
  replicas[#replicas + 1], live[me] = { me, now, number }, now
end
for i, it in ipairs(replicas) do
  ids[i] = it[1]
  replicas[i] = pack('>c16I8I8', it[1], it[2], it[3])
end

-- What was used of a limit, and who holds what.
local used_format = '>' .. string.rep('I8', units)
local hold_format = '>c16I8' .. string.rep('I8I8', units)
local hold_size = 24 + 16 * units
local function usage(text)
  local used = {}
  if text and #text >= 8 * units then
    used = { read(used_format, text) }
  else
    text = nil
  end
  for unit = 1, units do
    if not used[unit] or used[unit] > MOST then used[unit] = 0 end
  end
  return used, records(text, 8 * units + 1, hold_format, hold_size)
end

-- The facts on a limit: process, when each came, number, version, how long it lasts, and what it says.
local function parse(text)
  local list, at = {}, 1
  while at <= #text do
    local id, came, order, version, lasts, fact, next_at = read('>c16I8I8I8I8I4c0', text, at)
    if came > now then came = now end
    list[#list + 1], at = { id, came, order, version, lasts, fact }, next_at
  end
  return list
end
local function facts_of(text)
  if not text or #text > LONGEST then return {} end
  local is_valid, list = pcall(parse, text)
  return is_valid and list or {}
end
local function join(facts)
  local parts = {}
  for i, it in ipairs(facts) do
    parts[i] = pack('>c16I8I8I8I8I4', it[1], it[2], it[3], it[4], it[5], #it[6]) .. it[6]
  end
  return table.concat(parts)
end
-- Without those of processes that are gone, once they no longer matter, or more have followed.
local function current(facts)
  local kept, dead = {}, 0
  for i = #facts, 1, -1 do
    local it = facts[i]
    local is_live = live[it[1]]
    if not is_live then dead = dead + 1 end
    if is_live or (dead <= MOST_OF_DEAD and now < it[2] + it[5]) then table.insert(kept, 1, it) end
  end
  return kept
end

local function fetch(key, limits)
  local values = {}
  for from = 1, #limits, 1000 do
    local some = call('HMGET', key, unpack(limits, from, math.min(from + 999, #limits)))
    for i, value in ipairs(some) do values[from + i - 1] = value end
  end
  return values
end

-- What is said of each limit.
local stride = 4 + 4 * units
local said, wants = {}, {}
for i = 1, says do said[i] = ARGV[FIRST + joins + (i - 1) * stride] end
local usages, known = fetch(STATE, said), fetch(FACTS, said)
local writes, told, used_of = { 'epoch', epoch, 'replicas', table.concat(replicas) }, {}, {}
for i, limit in ipairs(said) do
  local at = FIRST + joins + (i - 1) * stride
  local used, holds = usage(usages[i])
  if not usages[i] then call('ZADD', DUE, now + FORGETS, limit) end
  local own, kept, sums = nil, {}, {}
  for _, it in ipairs(holds) do
    local seen = live[it[1]]
    if it[1] == me then
      own = it
    elseif seen or now < it[2] + FORGETS then
      kept[#kept + 1] = it
      if seen and now < seen + HOLDS then
        for unit = 1, units do sums[unit] = (sums[unit] or 0) + it[1 + 2 * unit] end
      end
    end
  end
  local hold, answer = { me, now }, { limit }
  for unit = 1, units do
    local from = at + 4 * unit - 3
    local has, uses = tonumber(ARGV[from]), tonumber(ARGV[from + 1])
    local wanted, ceiling = tonumber(ARGV[from + 2]), tonumber(ARGV[from + 3])
    local before = own and own[2 + 2 * unit] or uses
    used[unit] = math.min(used[unit] + math.max(uses - before, 0), MOST)
    local free = math.max(ceiling - used[unit] - (sums[unit] or 0) - has, 0)
    local granted = 0
    -- Nobody takes all while others may want some.
    if not is_learning and not is_last then granted = math.min(wanted, free, math.ceil(free / #ids)) end
    hold[1 + 2 * unit], hold[2 + 2 * unit] = math.min(has + granted, MOST), uses
    answer[1 + unit], answer[1 + units + unit] = used[unit], granted
  end
  if not is_last then kept[#kept + 1] = hold end
  local parts = { pack(used_format, unpack(used)) }
  for j, it in ipairs(kept) do parts[j + 1] = pack(hold_format, unpack(it, 1, 2 + 2 * units)) end
  writes[#writes + 1], writes[#writes + 2] = limit, table.concat(parts)
  for _, value in ipairs(answer) do told[#told + 1] = value end
  used_of[limit] = true
  local version, lasts, fact = ARGV[at + stride - 3], tonumber(ARGV[at + stride - 2]), ARGV[at + stride - 1]
  if version ~= '' then
    local facts, is_news = {}, true
    for _, it in ipairs(current(facts_of(known[i]))) do
      if it[1] ~= me then
        facts[#facts + 1] = it
      elseif it[4] >= tonumber(version) and it[4] <= MOST then
        facts[#facts + 1], is_news = it, false
      end
    end
    if is_news then
      newest = newest + 1
      facts[#facts + 1] = { me, now, newest, tonumber(version), lasts, fact }
      call('HSET', FACTS, limit, join(facts))
      call('ZADD', NEWS, newest, limit)
    end
  end
end
writes[#writes + 1], writes[#writes + 2] = 'newest', string.format('%.0f', newest)
writes[#writes + 1], writes[#writes + 2] = 'learns', string.format('%.0f', learns)
for from = 1, #writes, 1000 do
  call('HSET', STATE, unpack(writes, from, math.min(from + 999, #writes)))
end

-- What this process has not heard.
local wanted, is_joined = {}, {}
for i = 0, joins - 1 do
  local limit = ARGV[FIRST + i]
  wanted[#wanted + 1], is_joined[limit] = limit, true
end
for _, limit in ipairs(call('ZRANGEBYSCORE', NEWS, string.format('(%.0f', heard), '+inf')) do
  if limit ~= 'epoch' and not is_joined[limit] then wanted[#wanted + 1] = limit end
end
local news, unsaid = {}, {}
for i, text in ipairs(fetch(FACTS, wanted)) do
  local limit = wanted[i]
  local count = #news
  for _, it in ipairs(current(facts_of(text))) do
    if it[1] ~= me and (is_joined[limit] or it[3] > heard) then
      news[#news + 1], news[#news + 2], news[#news + 3], news[#news + 4] = limit, it[1], now - it[2], it[6]
    end
  end
  if #news > count and not used_of[limit] then unsaid[#unsaid + 1] = limit end
end
for i, text in ipairs(fetch(STATE, unsaid)) do
  local used = usage(text)
  told[#told + 1] = unsaid[i]
  for unit = 1, units do told[#told + 1] = used[unit] end
  for _ = 1, units do told[#told + 1] = 0 end
end

-- Limits of which nobody has said anything for long.
for _, limit in ipairs(due) do
  local _, holds = usage(call('HGET', STATE, limit))
  local is_used, facts = used_of[limit], current(facts_of(call('HGET', FACTS, limit)))
  for _, it in ipairs(holds) do is_used = is_used or live[it[1]] end
  if is_used or #facts > 0 then
    call('ZADD', DUE, now + FORGETS, limit)
    if #facts > 0 then call('HSET', FACTS, limit, join(facts)) end
  else
    call('HDEL', STATE, limit)
    call('HDEL', FACTS, limit)
    call('ZREM', NEWS, limit)
    call('ZREM', DUE, limit)
  end
end

for _, key in ipairs(KEYS) do call('PEXPIRE', key, EXPIRES) end
return { epoch, newest, is_learning and 1 or 0, ids, told, news }
