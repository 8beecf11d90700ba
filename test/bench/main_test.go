package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The environment by which this binary, started again, is told to be one measurement.
const (
	roleEnv    = "LIFEBOAT_BENCH_ROLE"
	folderEnv  = "LIFEBOAT_BENCH_FOLDER"
	profileEnv = "LIFEBOAT_BENCH_PROFILE" // a folder for CPU and heap profiles; optional
)

// roles are the measurements that want a process of their own. Each works in a fresh folder and returns its figures.
var roles = map[string]func(folder string) (figures, error){
	"steps-join": func(folder string) (figures, error) { return measureSteps(folder, joined) },
	"steps-all":  func(folder string) (figures, error) { return measureSteps(folder, allToAll) },
	"steps-fake": measureFake,
	"waiting":    measureWaiting,
}

// figures are what one measurement found, by unit.
type figures map[string]float64

func TestMain(m *testing.M) {
	name := os.Getenv(roleEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := play(name, os.Getenv(folderEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play is the life of a process that is one measurement.
func play(name, folder string) error {
	role, ok := roles[name]
	if !ok {
		return fmt.Errorf("there is no measurement %q", name)
	}
	if dir := os.Getenv(profileEnv); dir != "" {
		out, err := os.Create(filepath.Join(dir, name+".cpu"))
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = out.Close()
		}()
	}
	got, err := role(folder)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// apart runs a measurement in a process of its own.
func apart(b *testing.B, name string) figures {
	b.Helper()
	return apartIn(b, name, b.TempDir())
}

func apartIn(b *testing.B, name, folder string) figures {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self)
	cmd.Env = append(os.Environ(), roleEnv+"="+name, folderEnv+"="+folder)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s", name, err, stderr.Bytes())
	}
	var got figures
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		b.Fatalf("%s: %v in %q", name, err, stdout.Bytes())
	}
	return got
}

// show reports the means of what the iterations of a benchmark found, in place of the time of an iteration.
func show(b *testing.B, all []figures) {
	b.Helper()
	sums := figures{}
	for _, f := range all {
		for unit, v := range f {
			sums[unit] += v
		}
	}
	for unit, sum := range sums {
		b.ReportMetric(sum/float64(len(all)), unit)
	}
	b.ReportMetric(0, "ns/op")
}

// processorTime is what this process has used of the processor.
func processorTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// peakMemory is the most memory this process has had resident, in MB (10^6 bytes). Linux only.
func peakMemory() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 64)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmHWM")
}

// folderMB is what the files under a folder take on disk, in MB.
func folderMB(folder string) (float64, error) {
	total := int64(0)
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			total += stat.Blocks * 512
		}
		return nil
	})
	return float64(total) / 1e6, err
}
