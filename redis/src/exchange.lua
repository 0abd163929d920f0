-- One exchange of one process with the others of its pool. Times are microseconds.
--
-- KEYS[1] hash:
--   head               epoch, number of the newest fact, end of learning, number and end of the round, time of the last
--                      exchange, and how far the clock of this server is ahead of the time of the pool
--   replicas           for each process: id, time and number of its last exchange
--   limit, unit        used by all, round, held by all, and for each process: id, time, held, used
--   limit              ids of the processes that have published a fact
--   limit, process     fact: time, how long it lasts, version, and the rest, which only processes decode
-- KEYS[2] sorted set: limit and process by the number of the fact, and a member that proves that it is complete
-- KEYS[3] sorted set: limits by when to check whether they are unused
--
-- A round lasts at most a second, and no process starts, ends or expires within it. So only its first
-- exchange counts the processes, renews the expiry of the keys and removes unused limits.
--
-- The time of the pool is that of this server's clock, but does not jump with it.
local call, pack, read, sub, max, min = redis.call, struct.pack, struct.unpack, string.sub, math.max, math.min
local STATE, FACTS, DUE = KEYS[1], KEYS[2], KEYS[3]
local me, number, known_epoch, received, is_last, proposed, UNITS, HOLDS, LIVES, LEARNS, EXPIRES, since_last,
  new_limits, requests, facts = read('>c16I8I8I8I1I8I1I8I8I8I8I8I4I4I4', ARGV[1])
is_last = is_last == 1
local FIRST_REQUEST, FIRST_FACT, FIRST_KNOWN = 1 + new_limits, 1 + new_limits + requests, 2 + requests
local ROUND, JUMP, UNUSED, MOST = 1000000, 10000000, 60000000, 4503599627370496
local MAX_PROCESSES, MAX_PUBLISHERS, MAX_ENDED = 1024, 128, 64
local GUARD = 'epoch'

local time = call('TIME')
local clock = time[1] * 1000000 + time[2]

-- Calls a command. If the key has another type, everything counts as lost.
local is_lost = false
local function try(...)
  local found = redis.pcall(...)
  if type(found) ~= 'table' or not found.err then return found end
  if not string.find(found.err, 'WRONGTYPE', 1, true) then return error(found.err, 0) end
  is_lost = true
end

-- Calls a command with a key and many arguments, and returns all values.
local function many(run, command, key, list)
  if #list <= 1000 then return #list > 0 and run(command, key, unpack(list)) or {} end
  local values = {}
  for from = 1, #list, 1000 do
    local to = min(from + 999, #list)
    local some = run(command, key, unpack(list, from, to))
    if type(some) == 'table' then
      for i = 1, to - from + 1 do values[from + i - 1] = some[i] end
    end
  end
  return values
end

-- Returns a text that ends in records of a size; an empty one if it does not.
local function checked(text, head, size)
  local count = text and (#text - head) / size or -1
  if count < 0 or count > MAX_PROCESSES or count % 1 ~= 0 then return '' end
  return text
end

-- Returns where the record of this process begins.
local function own_place(text, first, size)
  local at = string.find(text, me, first, true)
  while at and (at - first) % size ~= 0 do at = string.find(text, me, at + 1, true) end
  return at
end

local fields = { 'head', 'replicas' }
for i = 1, requests do fields[2 + i] = sub(ARGV[FIRST_REQUEST + i], 1, 17) end
for i = 1, facts do fields[FIRST_KNOWN + i] = sub(ARGV[FIRST_FACT + i], 1, 16) .. me end
local values = many(try, 'HMGET', STATE, fields)
local POOL = '>I8I8I8I8I8I8i8'
local epoch, newest, learns, round, ends, latest, ahead = 0, 0, 0, 0, 0, 0, 0
if values[1] and #values[1] == 56 then epoch, newest, learns, round, ends, latest, ahead = read(POOL, values[1]) end
-- A server that was restored, or a replica that took over, has fewer facts than this process has received.
is_lost = is_lost or epoch == 0 or known_epoch == epoch and received > newest
  or max(epoch, newest, learns, round, latest, ahead, -ahead) >= MOST
if not is_lost and (facts > 0 or known_epoch ~= epoch or received < newest) then
  is_lost = tonumber(try('ZSCORE', FACTS, GUARD) or '') ~= -epoch
end

-- The processes. This one is in its place, or the last.
local replicas = checked(values[2], 0, 32)
local place, was_live, was_holding = own_place(replicas, 1, 32), false, false
local now = max(clock - ahead, latest)
if place and not is_lost then
  local at, last = read('>I8I8', replicas, place + 16)
  -- By the clock of this process, less time has passed since its last exchange.
  if at + since_last + JUMP < now then now = max(at + since_last, latest) end
  at = min(at, now)
  was_live, was_holding = now < at + LIVES, now < at + HOLDS
  -- The request is late, or a repetition.
  if was_live and number <= last then return { epoch } end
end
local is_new_round = is_lost or not was_holding or now >= ends or ends > now + ROUND
local due = is_new_round and try('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 4) or {}
if is_lost then
  call('DEL', STATE, FACTS, DUE)
  call('ZADD', FACTS, -proposed, GUARD)
  values, replicas, due, now = {}, '', {}, clock
  epoch, newest, learns, round = proposed, 0, 0, 0
  is_new_round, place = true, nil
end
if known_epoch ~= epoch then
  received = 0
  -- Other processes may hold places that this server has no record of.
  if known_epoch ~= 0 and learns == 0 then learns = now + LEARNS end
end
local is_learning = now < learns and learns <= now + LEARNS
local own = is_last and '' or pack('>c16I8I8', me, now, number)
if is_new_round then
  round, ends = round + 1, now + ROUND
  local kept, known = {}, { [me] = true }
  for from = 1, #replicas, 32 do
    local id, at, last = read('>c16I8I8', replicas, from)
    at = min(at, now)
    if now < at + LIVES and not known[id] and #kept < MAX_PROCESSES - 1 then
      known[id], kept[#kept + 1] = true, pack('>c16I8I8', id, at, last)
      ends = min(ends, at + (now < at + HOLDS and HOLDS or LIVES))
    end
  end
  replicas = table.concat(kept) .. own
else
  replicas = sub(replicas, 1, place - 1) .. own .. sub(replicas, place + 32)
end
if is_last then ends = 0 end
local live_count = max(#replicas / 32, 1)

-- Returns when each live process made its last exchange.
local times
local function live()
  if not times then
    times = {}
    for from = 1, #replicas, 32 do
      local id, at = read('>c16I8', replicas, from)
      times[id] = at
    end
  end
  return times
end

-- Returns how much of a unit was used and is held, and the record without processes that have expired.
local HEAD, HOLD, HOLD_SIZE = '>I8I8I8', '>c16I8I8I8', 40
local function usage(text)
  text = checked(text, 24, HOLD_SIZE)
  if text == '' then return 0, 0, text end
  local used, of_round, held = read(HEAD, text)
  if used > MOST / 2 then return 0, 0, '' end
  if of_round == round and held <= MOST then return used, held, text end
  -- The sum is computed again in each round.
  local times, kept, known = live(), { sub(text, 1, 24) }, {}
  held = 0
  for from = 25, #text, HOLD_SIZE do
    local id, at, holds = read('>c16I8I8', text, from)
    local last = id == me and now or times[id]
    if not known[id] and (last or now < at + UNUSED) then
      known[id], kept[#kept + 1] = true, sub(text, from, from + HOLD_SIZE - 1)
      if last and now < last + HOLDS then held = held + holds end
    end
  end
  return used, min(held, MOST), table.concat(kept)
end

local writes, grants, has_grant, checks = {}, {}, {}, {}
local function write(field, value)
  local count = #writes
  writes[count + 1], writes[count + 2] = field, value
end
local function check(limit)
  local count = #checks
  checks[count + 1], checks[count + 2] = now + UNUSED, limit
end

-- The lease requests.
for i = 1, requests do
  local field, has, uses, wanted, least, ceiling = read('>c17I8I8I8I8I8', ARGV[FIRST_REQUEST + i])
  local limit, used, held, text = sub(field, 1, 16), usage(values[2 + i])
  if not values[2 + i] then check(limit) end
  local place = own_place(text, 25, HOLD_SIZE) or max(#text, 24) + 1
  if place < #text then
    local had, before = read('>I8I8', text, place + 24)
    held, used = max(held - had, 0), used + max(uses - before, 0)
  end
  local free = max(ceiling - used - held - has, 0)
  -- No process takes all while others may need some, unless a part is of no use.
  local granted = min(wanted, free, max(math.ceil(free / live_count), least))
  if granted < least or is_learning or is_last then granted = 0 end
  local hold = ''
  if not is_last then
    held, hold = held + has + granted, pack(HOLD, me, now, has + granted, uses)
  end
  write(field, pack(HEAD, used, round, held) .. sub(text, 25, place - 1) .. hold .. sub(text, place + HOLD_SIZE))
  grants[i], has_grant[limit] = pack('>c17I8I8', field, used, granted), true
end

-- The facts on a limit that still matter, and those that do not.
local function facts_on(limit, ids)
  local names, current, old, ended = {}, {}, {}, 0
  for at = #ids - 15, 1, -16 do names[#names + 1] = limit .. sub(ids, at, at + 15) end
  for i, fact in ipairs(many(call, 'HMGET', STATE, names)) do
    local is_live = live()[sub(names[i], 17)]
    if not is_live then ended = ended + 1 end
    if fact and #fact >= 24 and (is_live or ended <= MAX_ENDED and now < read('>I8', fact) + read('>I8', fact, 9)) then
      table.insert(current, 1, names[i])
    else
      old[#old + 1] = names[i]
    end
  end
  return current, old
end

-- Removes facts that no longer matter. Returns the processes that have published the others.
local function remove_old_facts(limit, ids)
  local current, old = facts_on(limit, ids)
  many(call, 'HDEL', STATE, old)
  many(call, 'ZREM', FACTS, old)
  for i, name in ipairs(current) do current[i] = sub(name, 17) end
  return table.concat(current)
end

-- The facts that other processes have published since.
local new_facts = {}
if received < newest then new_facts = call('ZRANGEBYSCORE', FACTS, string.format('(%.0f', received), '+inf') end
if new_limits > 0 then
  local names, is_new_limit, limits = {}, {}, {}
  for i = 1, new_limits do limits[i], is_new_limit[ARGV[1 + i]] = ARGV[1 + i], true end
  for i, ids in ipairs(many(call, 'HMGET', STATE, limits)) do
    for _, name in ipairs(ids and facts_on(limits[i], ids) or {}) do names[#names + 1] = name end
  end
  for _, name in ipairs(new_facts) do
    if not is_new_limit[sub(name, 1, 16)] then names[#names + 1] = name end
  end
  new_facts = names
end
local unrequested = {}
for _, name in ipairs(new_facts) do
  local limit = sub(name, 1, 16)
  if #name == 32 and not has_grant[limit] then
    has_grant[limit] = true
    for unit = 1, UNITS do unrequested[#unrequested + 1] = limit .. unit end
  end
end
for i, text in ipairs(many(call, 'HMGET', STATE, unrequested)) do
  if text then grants[#grants + 1] = pack('>c17I8I8', unrequested[i], usage(text), 0) end
end

-- The facts of this process. All of them get the same number.
local numbers, next_number = {}, facts > 0 and string.format('%.0f', newest + 1)
for i = 1, facts do
  local fact, known, name = ARGV[FIRST_FACT + i], values[FIRST_KNOWN + i], fields[FIRST_KNOWN + i]
  local is_first = not known or #known < 24
  local is_new = is_first or read('>I8', known, 17) < read('>I8', fact, 25)
  -- The other processes have not received a fact that had ended with its process.
  if is_new or not was_live and now >= read('>I8', known) + read('>I8', known, 9) then
    numbers[#numbers + 1], numbers[#numbers + 2] = next_number, name
    write(name, pack('>I8', now) .. sub(fact, 17))
  end
  if is_first then
    local limit = sub(fact, 1, 16)
    local ids = call('HGET', STATE, limit)
    if not ids then check(limit) end
    ids = ids or ''
    if #ids >= 16 * MAX_PUBLISHERS then ids = remove_old_facts(limit, ids) end
    write(limit, ids .. me)
  end
end

if #numbers > 0 then newest = newest + 1 end

write('head', pack(POOL, epoch, newest, learns, round, ends, now, clock - now))
write('replicas', replicas)
if #checks > 0 then
  many(call, 'ZADD', DUE, checks)
  call('PEXPIRE', DUE, EXPIRES)
end
many(call, 'HSET', STATE, writes)
many(call, 'ZADD', FACTS, numbers)

-- Removes limits that no process uses any more.
for _, limit in ipairs(due) do
  local ids = remove_old_facts(limit, call('HGET', STATE, limit) or '')
  local is_used, of_units = #ids > 0, {}
  for unit = 1, UNITS do of_units[unit] = limit .. unit end
  for _, text in ipairs(many(call, 'HMGET', STATE, of_units)) do
    local _, _, holds = usage(text)
    for from = 25, #holds, HOLD_SIZE do is_used = is_used or live()[sub(holds, from, from + 15)] end
  end
  if #ids > 0 then
    call('HSET', STATE, limit, ids)
  else
    call('HDEL', STATE, limit)
  end
  if is_used then
    call('ZADD', DUE, now + UNUSED, limit)
  else
    many(call, 'HDEL', STATE, of_units)
    call('ZREM', DUE, limit)
  end
end

if is_new_round then
  for _, key in ipairs(KEYS) do call('PEXPIRE', key, EXPIRES) end
end
local values_of_facts = many(call, 'HMGET', STATE, new_facts)
return { epoch, newest, is_learning and 1 or 0, now, replicas, grants, new_facts, values_of_facts }
