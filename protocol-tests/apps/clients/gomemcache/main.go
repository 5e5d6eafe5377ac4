// gomemcache: the operations that applications use, each answer checked.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/bradfitz/gomemcache/memcache"
)

func check(right bool, what string) {
	if !right {
		fmt.Fprintln(os.Stderr, "failed:", what)
		os.Exit(1)
	}
}

func main() {
	client := memcache.New(os.Getenv("MEMCACHED_SERVER"))
	check(client.Set(&memcache.Item{Key: "go:a", Value: []byte("1"), Flags: 7, Expiration: 100}) == nil, "set")
	item, err := client.Get("go:a")
	check(err == nil && string(item.Value) == "1" && item.Flags == 7, "get")
	_, err = client.Get("go:missing")
	check(err == memcache.ErrCacheMiss, "miss")
	check(client.Add(&memcache.Item{Key: "go:a", Value: []byte("2")}) == memcache.ErrNotStored, "add")
	item.Value = []byte("10")
	check(client.CompareAndSwap(item) == nil, "cas")
	check(client.CompareAndSwap(item) == memcache.ErrCASConflict, "stale cas")
	number, err := client.Increment("go:a", 5)
	check(err == nil && number == 15, "increment")
	number, err = client.Decrement("go:a", 100)
	check(err == nil && number == 0, "decrement")
	var names []string
	for number := 0; number < 500; number++ {
		name := fmt.Sprintf("go:many:%d", number)
		names = append(names, name)
		check(client.Set(&memcache.Item{Key: name, Value: []byte(name)}) == nil, "many sets")
	}
	many, err := client.GetMulti(names)
	check(err == nil && len(many) == 500 && string(many["go:many:499"].Value) == "go:many:499", "get of many")
	large := bytes.Repeat([]byte("x"), 900000)
	check(client.Set(&memcache.Item{Key: "go:large", Value: large}) == nil, "large set")
	item, err = client.Get("go:large")
	check(err == nil && bytes.Equal(item.Value, large), "large get")
	check(client.Delete("go:a") == nil && client.Delete("go:a") == memcache.ErrCacheMiss, "delete")
	fmt.Println("  gomemcache: all operations right")
}
