// memjs, which speaks binary, with and without SASL: the operations that applications use, each answer checked.
const assert = require('node:assert');
const { Client } = require('memjs');

const { MEMCACHED_SERVER, MEMCACHED_SASL_SERVER, MEMCACHED_USERNAME, MEMCACHED_PASSWORD } = process.env;
const connect = (server, username, password) =>
  Client.create(server, { username, password, retries: 1, timeout: 5, failover: false });

async function operations(client) {
  assert.ok(await client.set('mj:a', 'text', { expires: 100 }));
  assert.strictEqual((await client.get('mj:a')).value.toString(), 'text');
  assert.strictEqual((await client.get('mj:missing')).value, null);
  assert.strictEqual(await client.add('mj:a', 'again', {}), false);
  assert.ok(await client.replace('mj:a', 'new', {}));
  assert.ok(await client.append('mj:a', '!'));
  assert.strictEqual((await client.get('mj:a')).value.toString(), 'new!');
  assert.strictEqual((await client.increment('mj:n', 5, { initial: 7 })).value, 7);
  assert.strictEqual((await client.increment('mj:n', 5, {})).value, 12);
  assert.strictEqual((await client.decrement('mj:n', 100, {})).value, 0);
  assert.ok(await client.touch('mj:a', 200));
  const names = Array.from({ length: 300 }, (_, number) => `mj:many:${number}`);
  await Promise.all(names.map((name) => client.set(name, name, { expires: 100 })));
  const found = await Promise.all(names.map((name) => client.get(name)));
  assert.deepStrictEqual(found.map(({ value }) => value.toString()), names);
  const large = Buffer.alloc(900000, 'x');
  assert.ok(await client.set('mj:large', large, {}));
  assert.deepStrictEqual((await client.get('mj:large')).value, large);
  assert.strictEqual(await client.delete('mj:a'), true);
  assert.strictEqual(await client.delete('mj:a'), false);
  const stats = await new Promise((resolve) => client.stats((error, server, values) => resolve(values)));
  assert.ok(Number(stats.cmd_set) > 0);
  await new Promise((resolve) => client.flush(resolve));
  assert.strictEqual((await client.get('mj:large')).value, null);
}

async function main() {
  const plain = connect(MEMCACHED_SERVER);
  await operations(plain);
  plain.close();
  console.log('  memjs: all operations right');
  const inside = connect(MEMCACHED_SASL_SERVER, MEMCACHED_USERNAME, MEMCACHED_PASSWORD);
  await operations(inside);
  await inside.set('mj:secret', 'x', {});
  const outside = connect(MEMCACHED_SASL_SERVER, MEMCACHED_USERNAME, 'wrong');
  const seen = await Promise.race([
    outside.get('mj:secret').then(({ value }) => value, () => null),
    new Promise((resolve) => setTimeout(resolve, 3000, null)),
  ]);
  assert.strictEqual(seen, null, 'a wrong password was let in');
  console.log('  memjs: SASL right');
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
