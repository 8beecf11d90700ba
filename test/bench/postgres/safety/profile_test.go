package safety

import (
	"fmt"
	"os"
	"runtime/pprof"
)

// profileEnv names the file for a CPU profile of the receiver.
const profileEnv = "LIFEBOAT_BENCH_PROFILE"

// profiled begins a CPU profile where one was asked for.
func profiled() (stop func()) {
	path := os.Getenv(profileEnv)
	if path == "" {
		return func() {}
	}
	f, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut off is seen
	}
}
