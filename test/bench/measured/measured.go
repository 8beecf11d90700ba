// Package measured runs the programs that benchmarks compare, and says what each took and whether they did the same. It
// knows nothing of what they do. Start with [Run].
package measured

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Process is what one process took, with those that it started and waited for.
type Process struct {
	Wall, CPU time.Duration
	RSS       int64 // peak of the largest process, bytes
	Added     int64 // to the repository, bytes
}

// Run runs a command to its end; its output is the caller's to know only when it fails. What earlier ones wrote is on disk
// before it starts, and in the page cache.
func Run(cmd *exec.Cmd) (Process, error) {
	syscall.Sync()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	err := cmd.Run()
	p := Process{Wall: time.Since(begun)}
	if err != nil {
		return p, fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out.String())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return p, errors.New("this system does not say what a process used")
	}
	p.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	p.RSS = peak(usage)
	return p, nil
}

// Size is how much lies in the files of a folder, in bytes.
func Size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// Buffers are what files are compared with. A caller keeps them: a child's peak begins with what its parent has in memory.
type Buffers [2][256 << 10]byte

// SameFile compares a file with what was restored of it, byte by byte.
func (b *Buffers) SameFile(want, got string) error {
	w, err := os.Open(want)
	if err != nil {
		return err
	}
	defer w.Close()
	g, err := os.Open(got)
	if err != nil {
		return err
	}
	defer g.Close()
	x, y := b[0][:], b[1][:]
	for {
		n, errW := io.ReadFull(w, x)
		m, errG := io.ReadFull(g, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return fmt.Errorf("%s was not restored as it is", want)
		}
		if errW != nil || errG != nil {
			if ended(errW) && ended(errG) {
				return nil
			}
			return errors.Join(errW, errG)
		}
	}
}

func ended(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// Median is the middle one of what the processes took.
func Median(all []Process, of func(Process) float64) float64 {
	if len(all) == 0 {
		return 0
	}
	var values []float64
	for _, p := range all {
		values = append(values, of(p))
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
