// Package ports gives tests the ports of servers that are started later, by programs that have to be told.
//
// A test that can listen itself, at port 0, does not need it.
package ports

import (
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
)

// Ports are given from this range. It is below those from which systems take the ports of connections that leave, and below
// those from which test/servers and the demo take theirs.
const first, last = 10000, 14999

// Free gives a TCP port of host that nobody listens on. It is given once for as long as this process lives, on this machine, not
// only by this process: other test programs run at the same time, and a server may be down while they look for a port.
func Free(t testing.TB, host string) int {
	t.Helper()
	given.Lock()
	defer given.Unlock()
	if given.next == 0 {
		given.next = first + os.Getpid()*37%(last-first)
	}
	for range last - first {
		port := given.next
		if given.next++; given.next > last {
			given.next = first
		}
		if take(net.JoinHostPort(host, strconv.Itoa(port))) {
			return port
		}
	}
	t.Fatalf("no port of %s from %d to %d is free", host, first, last)
	return 0
}

// Address is Free of loopback, as host:port.
func Address(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Free(t, "127.0.0.1")))
}

// given are the ports of this process. Each is reserved by the UDP port of the same number, which the system frees when the process
// ends, however it does.
var given struct {
	sync.Mutex
	next int
	held []io.Closer
}

func take(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	held, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	given.held = append(given.held, held) // what nothing refers to is closed
	return true
}
