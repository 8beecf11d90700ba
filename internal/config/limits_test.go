package config

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestHostileDocuments feeds documents that cost a YAML library without limits gigabytes, minutes or the whole stack.
// Each must be refused, and the memory that reading it takes must stay in proportion to the largest file.
func TestHostileDocuments(t *testing.T) {
	var keys, merges strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	merges.WriteString("a: &a {")
	for i := range 3000 {
		fmt.Fprintf(&merges, "k%d: v, ", i)
	}
	merges.WriteString("}\nb:\n")
	for range 3000 {
		merges.WriteString("- {<<: [*a, *a, *a, *a, *a, *a, *a, *a]}\n")
	}
	long := strings.Repeat("x", 1<<20)
	for name, doc := range map[string]string{
		"too large":            "# " + strings.Repeat("x", maxFile),
		"a mapping of keys":    keys.String(),
		"keys in flow":         "{" + strings.ReplaceAll(keys.String(), "\n", ", ") + "}",
		"flow sequences":       "a: [" + strings.Repeat("[],", 1<<20) + "]",
		"nested sequences":     strings.Repeat("[", 1<<20),
		"nested mappings":      strings.Repeat("{a: ", 1<<19),
		"nested on one line":   strings.Repeat("- ", 1<<20),
		"nested by indent":     nested(1000),
		"explicit keys":        strings.Repeat("? ", 1<<20),
		"tags":                 strings.Repeat("!a ", 1<<20),
		"anchors":              "a: " + strings.Repeat("&a ", 1<<20),
		"a long key":           long + ": 1",
		"long text, many uses": "a: &a " + long + "\nb: [" + strings.Repeat("*a, ", 10_000) + "]\n",
		"merges of merges":     merges.String(),
		"deep by aliases":      aliases(60),
		"unknown fields":       strings.Repeat("x", 200) + ": [" + strings.Repeat("{}, ", 60_000) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			_, err := load(t, doc)
			runtime.ReadMemStats(&after)
			var all *Error
			if !errors.As(err, &all) {
				t.Fatalf("got %v", err)
			}
			if len(err.Error()) > 1<<20 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
			if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 1<<30 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
			t.Logf("%d MiB allocated: %.100s", (after.TotalAlloc-before.TotalAlloc)>>20, err)
		})
	}
}

func nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func aliases(levels int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [[[[[]]]]]\n")
	for i := range levels {
		fmt.Fprintf(&b, "a%d: &a%d [[[[*a%d]]]]\n", i+1, i+1, i)
	}
	return b.String()
}
