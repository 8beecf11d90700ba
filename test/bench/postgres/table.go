package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/lifeboat-dr/lifeboat/test/bench/measured"
)

// print writes the medians as a table of Markdown.
func (b *bench) print(w io.Writer, rounds int) error {
	version, err := b.command(context.Background(), b.rest, "version").Output()
	if err != nil {
		return err
	}
	load, _ := os.ReadFile("/proc/loadavg") // elsewhere it is not said
	fmt.Fprintf(w, "\n%s; %.2f GB of relations, pgbench at scale %d; %d of %d pages changed (%.2f %%); %d processors; medians of %d rounds; load average at the end: %s\n\n",
		strings.TrimSpace(string(version)), float64(b.Pages*page)/1e9, b.scale, b.Differ, b.Pages, 100*float64(b.Differ)/float64(b.Pages), runtime.NumCPU(), rounds,
		cmp.Or(strings.TrimSpace(string(load)), "unknown"))
	fmt.Fprintln(w, "| | lifeboat | pgBackRest | factor | processor time | factor | peak memory | stored | factor |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	for _, s := range steps {
		us, them := b.results[key{ours, s}], b.results[key{theirs, s}]
		wall := func(m measured.Process) float64 { return m.Wall.Seconds() }
		cpu := func(m measured.Process) float64 { return m.CPU.Seconds() }
		rss := func(m measured.Process) float64 { return float64(m.RSS) / (1 << 20) }
		added := func(m measured.Process) float64 { return float64(m.Added) / 1e6 }
		if s == protocol {
			them = b.results[key{theirs, full}]
		}
		fmt.Fprintf(w, "| %s | %.2f s | %.2f s | %s | %.1f s, %.1f s | %s | %.0f MiB, %.0f MiB | %.1f MB, %.1f MB | %s |\n", s,
			measured.Median(us, wall), measured.Median(them, wall), ratio(measured.Median(them, wall), measured.Median(us, wall)),
			measured.Median(us, cpu), measured.Median(them, cpu), ratio(measured.Median(them, cpu), measured.Median(us, cpu)),
			measured.Median(us, rss), measured.Median(them, rss),
			measured.Median(us, added), measured.Median(them, added), ratio(measured.Median(them, added), measured.Median(us, added)))
	}
	return nil
}

// ratio is nothing for what is hardly anything.
func ratio(a, b float64) string {
	if a < 0.1 || b < 0.1 {
		return "-"
	}
	return fmt.Sprintf("%.2f x", a/b)
}
