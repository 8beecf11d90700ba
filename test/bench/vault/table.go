package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/test/bench/measured"
)

// print writes the medians as tables of Markdown.
func (b *bench) print(w io.Writer, rounds int) {
	load, _ := os.ReadFile("/proc/loadavg") // elsewhere it is not said
	fmt.Fprintf(w, "\n%d files, %.2f GB; %d processors; medians of %d rounds; load average at the end: %s\n\n", b.data.files,
		float64(b.data.bytes)/1e9, runtime.NumCPU(), rounds, cmp.Or(strings.TrimSpace(string(load)), "unknown"))
	fmt.Fprintln(w, "| | lifeboat | restic | factor | processor time | factor | peak memory | ratio | stored | ratio |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	for _, s := range steps {
		ours, theirs := b.results[key{"lifeboat", s.name}], b.results[key{"restic", s.name}]
		wall := func(m measured.Process) float64 { return m.Wall.Seconds() }
		cpu := func(m measured.Process) float64 { return m.CPU.Seconds() }
		rss := func(m measured.Process) float64 { return float64(m.RSS) / (1 << 20) }
		added := func(m measured.Process) float64 { return float64(m.Added) / 1e6 }
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.1f s, %.1f s | %s | %.0f MiB, %.0f MiB | %s | %.1f MB, %.1f MB | %s |\n", s.name,
			b.speed(s, measured.Median(ours, wall)), b.speed(s, measured.Median(theirs, wall)), ratio(measured.Median(theirs, wall), measured.Median(ours, wall), "%.2f x"),
			measured.Median(ours, cpu), measured.Median(theirs, cpu), ratio(measured.Median(theirs, cpu), measured.Median(ours, cpu), "%.2f x"),
			measured.Median(ours, rss), measured.Median(theirs, rss), ratio(measured.Median(ours, rss), measured.Median(theirs, rss), "%.2f"),
			measured.Median(ours, added), measured.Median(theirs, added), ratio(measured.Median(ours, added), measured.Median(theirs, added), "%.3f"))
	}
	fmt.Fprintf(w, "\nChanged pages: %.1f MB.\n", float64(b.changed)/1e6)
}

// speed is a step's time, with MB/s where that means something.
func (b *bench) speed(s step, seconds float64) string {
	text := fmt.Sprintf("%.2f s", seconds)
	if s.bytes && seconds > 0 {
		text += fmt.Sprintf(" (%.0f MB/s)", float64(b.data.bytes)/1e6/seconds)
	}
	return text
}

// ratio is nothing for what is hardly anything.
func ratio(a, b float64, format string) string {
	if a < 0.1 || b < 0.1 {
		return "-"
	}
	return fmt.Sprintf(format, a/b)
}

// rate runs do until a second has gone by, and gives bytes per second.
func rate(n int, do func()) float64 {
	begun, times := time.Now(), 0
	for time.Since(begun) < time.Second {
		do()
		times++
	}
	return float64(n) * float64(times) / time.Since(begun).Seconds()
}
