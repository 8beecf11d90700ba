package ports

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// envGiven makes the test's program look for a port like another test program.
const envGiven = "LIFEBOAT_TEST_PORT"

func TestMain(m *testing.M) {
	if next := os.Getenv(envGiven); next != "" {
		given.next, _ = strconv.Atoi(next)
		fmt.Println(Free(&testing.T{}, "127.0.0.1"))
		return
	}
	os.Exit(m.Run())
}

func TestAPortIsGivenOnce(t *testing.T) {
	seen := map[int]bool{}
	for range 100 {
		port := Free(t, "127.0.0.1")
		if seen[port] || port < first || port > last {
			t.Errorf("port %d, after %v", port, seen)
		}
		seen[port] = true
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatalf("a server cannot have it: %v", err)
		}
		l.Close()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", envGiven, port))
		if len(seen) > 3 {
			continue
		}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if other := strings.TrimSpace(string(out)); other == strconv.Itoa(port) || other == "" {
			t.Errorf("another program is given %q, too", other)
		}
	}
}

// TestTheRangeGoesRound has the last port given before the first.
func TestTheRangeGoesRound(t *testing.T) {
	given.next = last
	for range 2 {
		if port := Free(t, "127.0.0.1"); port < first || port > last {
			t.Errorf("port %d is not from %d to %d", port, first, last)
		}
	}
}
