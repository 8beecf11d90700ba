package main

import (
	"os"
	"runtime/pprof"
)

// profiled begins a profile where one is wanted; the function that it gives ends it.
func (t *task) profiled() (end func(), err error) {
	if t.profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(t.profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}
