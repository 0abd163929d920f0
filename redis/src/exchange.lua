-- One exchange of one process with the others of its pool. Times are microseconds of this server's clock.
--
-- KEYS[1] hash: epoch, newest, learns, replicas, and for each limit and unit what was used and who holds what
-- KEYS[2] hash: epoch, for each limit the processes that have told a fact, and for each limit and process the fact
-- KEYS[3] sorted set: limit and process by the number of the fact
-- KEYS[4] sorted set: limits by when to look whether they can be forgotten
local call, pack, read, sub, max, min = redis.call, struct.pack, struct.unpack, string.sub, math.max, math.min
local STATE, FACTS, NEWS, DUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, number, said_epoch, heard = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local is_last, proposed, UNITS = ARGV[5] == '1', ARGV[6], tonumber(ARGV[7])
local HOLDS, LIVES, LEARNS, EXPIRES = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local joins, asks, facts_said = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local FIRST_JOIN, FIRST_ASK = 15, 15 + joins
local FIRST_FACT = FIRST_ASK + 6 * asks
local FORGETS, MOST, MOST_PROCESSES, MOST_TELLERS, MOST_DEAD = 60000000, 4503599627370496, 1024, 128, 64

local time = call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- The first look at a key. One of another type is as good as none.
local is_lost = false
local function look(...)
  local found = redis.pcall(...)
  if type(found) ~= 'table' or not found.err then return found end
  if not string.find(found.err, 'WRONGTYPE', 1, true) then return error(found.err, 0) end
  is_lost = true
end

-- Returns the values of all records of a text, and how many records these are: none if it is not made of them.
local function records(text, from, format, size)
  local count = text and (#text - from + 1) / size or 0
  if count < 1 or count > MOST_PROCESSES or count % 1 ~= 0 then return {}, 0 end
  return { read('>' .. string.rep(format, count), text, from) }, count
end

-- Calls a command with a key and many arguments, and returns all that it returns.
local function many(command, key, list)
  local values = {}
  for from = 1, #list, 1000 do
    local to = min(from + 999, #list)
    local some = call(command, key, unpack(list, from, to))
    if type(some) == 'table' then
      for i = 1, to - from + 1 do values[from + i - 1] = some[i] end
    end
  end
  return values
end

local found = look('HMGET', STATE, 'epoch', 'newest', 'learns', 'replicas') or {}
local epoch, newest, learns = found[1], tonumber(found[2] or ''), tonumber(found[3] or '') or 0
local guards = { look('HGET', FACTS, 'epoch'), look('ZSCORE', NEWS, 'epoch') }
local due = look('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 2) or {}
local is_known = epoch and #epoch < 17 and string.match(epoch, '^%d+$') and newest and newest >= 0 and newest < MOST
-- A server that was restored, or a replica that took over, knows less than this process has received.
local is_old = is_known and said_epoch == epoch and heard > newest
if is_lost or not is_known or is_old or guards[1] ~= epoch or tonumber(guards[2] or '') ~= -tonumber(epoch) then
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

-- The processes, by when each was here last.
local live, ids, replicas = {}, {}, {}
local function add_live(id, at, last)
  local count = #replicas
  live[id], ids[#ids + 1] = at, id
  replicas[count + 1], replicas[count + 2], replicas[count + 3] = id, at, last
end
local seen, count = records(found[4], 1, 'c16I8I8', 32)
for i = 1, 3 * count, 3 do
  local id, at, last = seen[i], min(seen[i + 1], now), seen[i + 2]
  if id == me then
    -- It is late, or comes twice.
    if number <= last and now < at + LIVES then return { epoch } end
  elseif now < at + LIVES and not live[id] and #ids < MOST_PROCESSES - 1 then
    add_live(id, at, last)
  end
end
if not is_last then add_live(me, now, number) end

-- What was used of a limit in one unit, and the text if it also says who holds what.
local function usage(text)
  local used = text and #text >= 8 and read('>I8', text) or 0
  if used > MOST / 2 then return 0 end
  return used, text
end
local HOLD, HOLD_SIZE = 'c16I8I8I8', 40

-- The facts on a limit that still matter, and the names of those that do not.
local function tellers(limit, text)
  local facts, old, dead = {}, {}, 0
  for at = #text - 15, 1, -16 do facts[#facts + 1] = limit .. sub(text, at, at + 15) end
  local current = {}
  for i, value in ipairs(many('HMGET', FACTS, facts)) do
    local is_live = live[sub(facts[i], 17)]
    if not is_live then dead = dead + 1 end
    if value and #value >= 24 and (is_live or dead <= MOST_DEAD and now < read('>I8', value) + read('>I8', value, 9)) then
      table.insert(current, 1, facts[i])
    else
      old[#old + 1] = facts[i]
    end
  end
  return current, old
end

-- Forgets facts that no longer matter. Returns who has told the others.
local function forget_facts(limit, text)
  local current, old = tellers(limit, text)
  many('HDEL', FACTS, old)
  many('ZREM', NEWS, old)
  for i, fact in ipairs(current) do current[i] = sub(fact, 17) end
  return table.concat(current)
end

-- What is held and wanted.
local said = {}
for i = 1, asks do said[i] = ARGV[FIRST_ASK + 6 * (i - 1)] end
local writes = { 'epoch', epoch, 'replicas', pack('>' .. string.rep('c16I8I8', #ids), unpack(replicas)) }
local told, is_said = {}, {}
for i, text in ipairs(many('HMGET', STATE, said)) do
  local arg, limit = FIRST_ASK + 6 * (i - 1), sub(said[i], 1, 16)
  local has, uses, wanted = tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3])
  local least, ceiling = tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5])
  if not text then call('ZADD', DUE, now + FORGETS, limit) end
  local used, whole = usage(text)
  local holds, holders = records(whole, 9, HOLD, HOLD_SIZE)
  local before, others, kept, from = uses, 0, {}, 9
  for k = 0, holders - 1 do
    local id = holds[4 * k + 1]
    local last = live[id]
    if id == me or not (last or now < holds[4 * k + 2] + FORGETS) then
      if id == me then before = holds[4 * k + 4] end
      -- The others stay as they are.
      kept[#kept + 1] = sub(whole, from, 8 + k * HOLD_SIZE)
      from = 9 + (k + 1) * HOLD_SIZE
    elseif last and now < last + HOLDS then
      others = others + holds[4 * k + 3]
    end
  end
  if holders > 0 then kept[#kept + 1] = sub(whole, from) end
  used = used + max(uses - before, 0)
  local free = max(ceiling - used - others - has, 0)
  -- No process takes all while others may need some, unless a part is of no use.
  local granted = min(wanted, free, max(math.ceil(free / max(#ids, 1)), least))
  if granted < least or is_learning or is_last then granted = 0 end
  if not is_last then kept[#kept + 1] = pack('>' .. HOLD, me, now, has + granted, uses) end
  writes[#writes + 1], writes[#writes + 2] = said[i], pack('>I8', used) .. table.concat(kept)
  told[#told + 1], told[#told + 2], told[#told + 3] = said[i], used, granted
  is_said[limit] = true
end

-- What this process knows.
local own_facts, new_facts, numbers = {}, {}, {}
for i = 1, facts_said do own_facts[i] = ARGV[FIRST_FACT + 4 * (i - 1)] .. me end
for i, known in ipairs(many('HMGET', FACTS, own_facts)) do
  local arg, fact = FIRST_FACT + 4 * (i - 1), own_facts[i]
  local limit, version, lasts = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local is_first = not known or #known < 24
  if is_first or read('>I8', known, 17) < version then
    newest = newest + 1
    numbers[#numbers + 1], numbers[#numbers + 2] = newest, fact
    new_facts[#new_facts + 1], new_facts[#new_facts + 2] = fact, pack('>I8I8I8', now, lasts, version) .. ARGV[arg + 3]
  end
  if is_first then
    local ids_of = call('HGET', FACTS, limit)
    if not ids_of then call('ZADD', DUE, now + FORGETS, limit) end
    ids_of = ids_of or ''
    if #ids_of >= 16 * MOST_TELLERS then ids_of = forget_facts(limit, ids_of) end
    new_facts[#new_facts + 1], new_facts[#new_facts + 2] = limit, ids_of .. me
  end
end
writes[#writes + 1], writes[#writes + 2] = 'newest', string.format('%.0f', newest)
writes[#writes + 1], writes[#writes + 2] = 'learns', string.format('%.0f', learns)
many('HSET', STATE, writes)
many('HSET', FACTS, new_facts)
many('ZADD', NEWS, numbers)

-- The facts that this process has not received.
local wanted, is_joined, joined = {}, {}, {}
for i = 1, joins do joined[i] = ARGV[FIRST_JOIN + i - 1] end
for i, text in ipairs(many('HMGET', FACTS, joined)) do
  is_joined[joined[i]] = true
  if text then
    for _, fact in ipairs(tellers(joined[i], text)) do wanted[#wanted + 1] = fact end
  end
end
for _, fact in ipairs(call('ZRANGEBYSCORE', NEWS, string.format('(%.0f', heard), '+inf')) do
  if not is_joined[sub(fact, 1, 16)] then wanted[#wanted + 1] = fact end
end
local news, unsaid = {}, {}
for i, value in ipairs(many('HMGET', FACTS, wanted)) do
  local limit, id = sub(wanted[i], 1, 16), sub(wanted[i], 17)
  if id ~= me and value and #value >= 24 then
    local came = read('>I8', value)
    if live[id] or now < came + read('>I8', value, 9) then
      local at = #news
      news[at + 1], news[at + 2], news[at + 3], news[at + 4] = limit, id, now - came, sub(value, 25)
      if not is_said[limit] then
        is_said[limit] = true
        for unit = 1, UNITS do unsaid[#unsaid + 1] = limit .. unit end
      end
    end
  end
end
for i, text in ipairs(many('HMGET', STATE, unsaid)) do
  if text then told[#told + 1], told[#told + 2], told[#told + 3] = unsaid[i], usage(text), 0 end
end

-- Limits that may not be needed any more.
for _, limit in ipairs(due) do
  local ids_of = forget_facts(limit, call('HGET', FACTS, limit) or '')
  local is_used, of_units = #ids_of > 0, {}
  for unit = 1, UNITS do of_units[unit] = limit .. unit end
  for _, text in ipairs(many('HMGET', STATE, of_units)) do
    local _, whole = usage(text)
    local holds, holders = records(whole, 9, HOLD, HOLD_SIZE)
    for k = 0, holders - 1 do is_used = is_used or live[holds[4 * k + 1]] end
  end
  if #ids_of > 0 then
    call('HSET', FACTS, limit, ids_of)
  else
    call('HDEL', FACTS, limit)
  end
  if is_used then
    call('ZADD', DUE, now + FORGETS, limit)
  else
    many('HDEL', STATE, of_units)
    call('ZREM', DUE, limit)
  end
end

for _, key in ipairs(KEYS) do call('PEXPIRE', key, EXPIRES) end
return { epoch, newest, is_learning and 1 or 0, ids, told, news }
