# Perl's Cache::Memcached::Fast: the operations that applications use, each answer checked.
use strict;
use warnings;
use Cache::Memcached::Fast;

sub check {
    my ($right, $what) = @_;
    die "failed: $what\n" unless $right;
}

my $cache = Cache::Memcached::Fast->new({ servers => [$ENV{MEMCACHED_SERVER}], namespace => 'pl:', nowait => 0 });
check($cache->set('a', { name => 'Ann', list => [1, 2] }, 100), 'set of an object');
check($cache->get('a')->{list}[1] == 2, 'get of an object');
check(!defined $cache->get('missing'), 'miss');
check(!$cache->add('a', 1) && $cache->replace('a', 'x'), 'add, replace');
check($cache->append('a', 'y') && $cache->prepend('a', 'w') && $cache->get('a') eq 'wxy', 'append, prepend');
check($cache->set('n', 10) && $cache->incr('n', 5) == 15 && $cache->decr('n', 100) == 0, 'arithmetic');
my $found = $cache->gets('a');
check($cache->cas('a', $found->[0], 'z') && !$cache->cas('a', $found->[0], 'zz'), 'cas');
check($cache->touch('a', 200), 'touch');
my $stored = $cache->set_multi(map { ["many:$_", "x" x $_, 100] } 0 .. 499);
check((grep { $_ } values %$stored) == 500, 'set_multi');
my $many = $cache->get_multi(map { "many:$_" } 0 .. 500);
check(keys %$many == 500 && $many->{'many:499'} eq 'x' x 499, 'get_multi');
my $large = 'x' x 900_000;
check($cache->set('large', $large) && $cache->get('large') eq $large, 'large value');
check($cache->delete('a') && !defined $cache->get('a'), 'delete');
my ($version) = values %{ $cache->server_versions };
check($version =~ /^1\.6\./, 'version');
$cache->nowait_push;
$cache->flush_all;
check(!defined $cache->get('n'), 'flush_all');
print "  Cache::Memcached::Fast: all operations right\n";
