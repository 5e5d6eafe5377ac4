<?php
// The memcached extension itself, in both protocols: the operations that applications use.
[$host, $port] = explode(':', getenv('MEMCACHED_SERVER'));

function check(bool $right, string $what): void
{
    if (!$right) {
        fwrite(STDERR, "failed: $what\n");
        exit(1);
    }
}

function operations(bool $binary): void
{
    global $host, $port;
    $cache = new Memcached();
    $cache->setOption(Memcached::OPT_BINARY_PROTOCOL, $binary);
    $cache->addServer($host, (int) $port);
    check($cache->set('php:a', 'text', 100), 'set');
    check($cache->get('php:a') === 'text', 'get');
    check($cache->set('php:array', ['x' => [1, 2.5, null, true]]), 'set array');
    check($cache->get('php:array') === ['x' => [1, 2.5, null, true]], 'get array');
    check($cache->get('php:missing') === false && $cache->getResultCode() === Memcached::RES_NOTFOUND, 'miss');
    check(!$cache->add('php:a', 'other') && in_array($cache->getResultCode(), [Memcached::RES_NOTSTORED, Memcached::RES_DATA_EXISTS]), 'add existing');
    check($cache->replace('php:a', 'new'), 'replace');
    check($cache->set('php:n', 10) && $cache->increment('php:n', 5) === 15 && $cache->decrement('php:n', 20) === 0, 'arithmetic');
    $found = $cache->get('php:a', null, Memcached::GET_EXTENDED);
    check($cache->cas($found['cas'], 'php:a', 'by cas'), 'cas');
    check(!$cache->cas($found['cas'], 'php:a', 'again') && $cache->getResultCode() === Memcached::RES_DATA_EXISTS, 'stale cas');
    $many = [];
    for ($i = 0; $i < 500; $i++) {
        $many["php:many:$i"] = str_repeat((string) $i, 50);
    }
    check($cache->setMulti($many, 100), 'setMulti');
    check($cache->getMulti(array_keys($many)) == $many, 'getMulti');
    check($cache->touch('php:a', 200), 'touch');
    $large = random_bytes(900000);
    check($cache->set('php:large', $large) && $cache->get('php:large') === $large, 'large value');
    check($cache->delete('php:a') && $cache->get('php:a') === false, 'delete');
    $versions = $cache->getVersion();
    check(is_array($versions) && str_starts_with(array_values($versions)[0], '1.6.'), 'version');
    check(count($cache->getStats()) === 1, 'stats');
    check($cache->flush(), 'flush');
}

operations(false);
operations(true);
$cache = new Memcached();
$cache->setOption(Memcached::OPT_BINARY_PROTOCOL, true);
$cache->setSaslAuthData(getenv('MEMCACHED_USERNAME'), getenv('MEMCACHED_PASSWORD'));
[$host, $port] = explode(':', getenv('MEMCACHED_SASL_SERVER'));
$cache->addServer($host, (int) $port);
check($cache->set('php:sasl', 'text') && $cache->get('php:sasl') === 'text', 'SASL');
$cache = new Memcached();
$cache->setOption(Memcached::OPT_BINARY_PROTOCOL, true);
$cache->setSaslAuthData(getenv('MEMCACHED_USERNAME'), 'wrong');
$cache->addServer($host, (int) $port);
check($cache->get('php:sasl') === false, 'a wrong password was let in');
echo "  php-memcached: all operations right, text and binary\n";
