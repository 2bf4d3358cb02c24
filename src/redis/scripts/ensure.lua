-- KEYS: stream, meta. ARGV: a random token, used if a generation must be made. Returns the newest generation.
local list = ensure_generation(KEYS[1], KEYS[2], ARGV[1])
local tokens = parse_generations(list)
return tokens[#tokens]
