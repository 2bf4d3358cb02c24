-- KEYS: dead letters, what lists say of them. ARGV: for each its field, its JSON, its line. When anything of it last changed
-- stands beside the lines, so that whoever has read them knows whether to read them again.
for at = 1, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 2])
end
touch_letters(KEYS[2])
