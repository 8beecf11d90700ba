package restorer_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

func TestScratchBench(t *testing.T) {
	if os.Getenv("SB_REPO") == "" {
		t.SkipNow()
	}
	v := open(t, os.Getenv("SB_REPO"), nil)
	root := latest(t, v, os.Getenv("SB_DIR"))
	if p := os.Getenv("SB_PROF"); p != "" {
		f, _ := os.Create(p)
		pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
	}
	began := time.Now()
	if p := os.Getenv("SB_HEAP"); p != "" {
		runtime.MemProfileRate = 1 << 14
		go func() {
			for i := 0; ; i++ {
				time.Sleep(400 * time.Millisecond)
				runtime.GC()
				f, _ := os.Create(fmt.Sprintf("%s.%d", p, i))
				pprof.Lookup("heap").WriteTo(f, 0)
				f.Close()
			}
		}()
	}
	r := restore(t, v, root, restorer.Options{Target: os.Getenv("SB_TARGET"), Sync: os.Getenv("SB_SYNC") != ""})
	var u syscall.Rusage
	syscall.Getrusage(0, &u)
	fmt.Printf("took %v bytes %d fetched %d files %d rss %d KiB user %v sys %v\n", time.Since(began), r.Bytes, r.Fetched, r.Files, u.Maxrss, time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano()))
}
