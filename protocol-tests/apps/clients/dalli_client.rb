# Dalli, in the binary and the meta protocol, and with SASL: the operations that applications use, each answer checked.
require 'dalli'

def check(right, what)
  abort "failed: #{what}" unless right
end

def operations(client, prefix)
  key = ->(name) { "#{prefix}:#{name}" }
  check client.set(key['a'], { 'name' => "J\u00fcrgen", 'list' => [1, 2] }, 100), 'set of an object'
  check client.get(key['a']) == { 'name' => "J\u00fcrgen", 'list' => [1, 2] }, 'get of an object'
  check client.get(key['missing']).nil?, 'miss'
  check !client.add(key['a'], 1) && client.replace(key['a'], 2), 'add, replace'
  client.set(key['raw'], 'b', 100, raw: true)
  check client.append(key['raw'], 'c') && client.prepend(key['raw'], 'a'), 'append, prepend'
  check client.get(key['raw'], raw: true) == 'abc', 'joined'
  check client.incr(key['n'], 5, 100, 7) == 7 && client.incr(key['n'], 5) == 12 && client.decr(key['n'], 100).zero?, 'arithmetic'
  check client.cas(key['a']) { |value| value + 1 } && client.get(key['a']) == 3, 'cas'
  check client.touch(key['a'], 200) && client.gat(key['a'], 300) == 3, 'touch, gat'
  client.multi { 300.times { |number| client.set(key["many:#{number}"], number) } }
  many = (0...300).to_h { |number| [key["many:#{number}"], number] }
  check client.get_multi(many.keys + [key['missing']]) == many, 'get_multi'
  large = Random.bytes(900_000)
  check client.set(key['large'], large, 100, raw: true) && client.get(key['large'], raw: true) == large, 'large value'
  check client.delete(key['a']) && client.get(key['a']).nil?, 'delete'
  check client.stats.values.first['curr_items'].to_i.positive? && client.version.values.first.start_with?('1.6.'), 'stats, version'
  client.flush
  check client.get(key['n']).nil?, 'flush'
  client.close
end

server = ENV.fetch('MEMCACHED_SERVER')
operations(Dalli::Client.new(server, protocol: :binary), 'da:binary')
operations(Dalli::Client.new(server, protocol: :meta), 'da:meta')
puts '  Dalli: all operations right, binary and meta'

sasl = ENV.fetch('MEMCACHED_SASL_SERVER')
names = { username: ENV.fetch('MEMCACHED_USERNAME'), password: ENV.fetch('MEMCACHED_PASSWORD') }
operations(Dalli::Client.new(sasl, protocol: :binary, **names), 'da:sasl')
begin
  Dalli::Client.new(sasl, protocol: :binary, username: names[:username], password: 'wrong').set('da:a', 1)
  abort 'failed: a wrong password was let in'
rescue Dalli::DalliError
  puts '  Dalli: SASL right'
end
