package leaks

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestFind(t *testing.T) {
	before, stop, ended := goleak.IgnoreCurrent(), make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); <-stop }()
	if err := Find(0, before); err == nil || !strings.Contains(err.Error(), "TestFind") {
		t.Errorf("a goroutine that waits is left: %v", err)
	}
	close(stop)
	<-ended
	if err := Find(Patience, before); err != nil {
		t.Errorf("none is left: %v", err)
	}
}
