// The `memcached` package of Node: the operations that applications use, each answer checked.
const assert = require('node:assert');
const { promisify } = require('node:util');
const Memcached = require('memcached');

const client = new Memcached(process.env.MEMCACHED_SERVER, { timeout: 5000, retries: 0, poolSize: 4 });
const call = (name, ...words) => promisify(client[name].bind(client))(...words);

async function main() {
  assert.strictEqual(await call('set', 'js:a', 'text', 100), true);
  assert.strictEqual(await call('get', 'js:a'), 'text');
  assert.strictEqual(await call('get', 'js:missing'), undefined);
  await call('set', 'js:object', { name: 'Jürgen', list: [1, 2] }, 100);
  assert.deepStrictEqual(await call('get', 'js:object'), { name: 'Jürgen', list: [1, 2] });
  await assert.rejects(call('add', 'js:a', 'again', 100));
  assert.strictEqual(await call('replace', 'js:a', 'new', 100), true);
  assert.strictEqual(await call('append', 'js:a', '!'), true);
  assert.strictEqual(await call('prepend', 'js:a', '<'), true);
  assert.strictEqual(await call('get', 'js:a'), '<new!');
  await call('set', 'js:n', 5, 100);
  assert.strictEqual(await call('incr', 'js:n', 10), 15);
  assert.strictEqual(await call('decr', 'js:n', 100), 0);
  const found = await call('gets', 'js:a');
  assert.strictEqual(await call('cas', 'js:a', 'by cas', found.cas, 100), true);
  assert.strictEqual(await call('cas', 'js:a', 'stale', found.cas, 100), false);
  assert.strictEqual(await call('touch', 'js:a', 200), true);
  const large = 'x'.repeat(900000);
  await call('set', 'js:large', large, 100);
  assert.strictEqual(await call('get', 'js:large'), large);
  const names = Array.from({ length: 200 }, (_, number) => `js:many:${number}`);
  await Promise.all(names.map((name) => call('set', name, name, 100)));
  assert.strictEqual(Object.keys(await call('getMulti', names)).length, names.length);
  assert.strictEqual(await call('del', 'js:a'), true);
  const [version] = await call('version');
  assert.ok(version.version.startsWith('1.6.'));
  const [stats] = await call('stats');
  assert.ok(Number(stats.curr_items) > 0);
  const [settings] = await call('settings');
  assert.ok(Number(settings.maxbytes) > 0);
  await call('flush');
  assert.strictEqual(await call('get', 'js:n'), undefined);
  console.log('  memcached of Node: all operations right');
}

main().then(
  () => client.end(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
