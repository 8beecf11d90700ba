package journaltest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

func checkRoundTrip(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	if kv := b.read("absent"); kv != nil {
		b.Errorf("an empty store has %+v", kv)
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, key := range []string{"run/1/h", "ключ", "a b%2f\x00\xff", "/"} {
		for _, value := range [][]byte{{}, []byte("v"), every} {
			rev := b.write(journal.Op{Key: key, Value: value})
			got := b.read(key)
			if got == nil {
				b.Fatalf("%q is absent after it was written", key)
			}
			if got.Key != key || !bytes.Equal(got.Value, value) || got.Mod != rev {
				b.Errorf("got %+v, want key %q, value %q, mod %d", *got, key, value, rev)
			}
		}
	}
	value := []byte("mine")
	b.write(journal.Op{Key: "owned", Value: value})
	value[0] = 'x'
	got := b.read("owned")
	got.Value[1] = 'x'
	if again := b.read("owned"); string(again.Value) != "mine" {
		b.Errorf("the store shares memory with its callers: got %q, want %q", again.Value, "mine")
	}
}

func checkRevisions(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	first := b.write(put("a", "1"))
	second := b.write(put("a", "2"), put("b", "1"))
	if first <= 0 || second <= first {
		b.Errorf("revisions %d, %d: want growing positive ones", first, second)
	}
	a, other := b.read("a"), b.read("b")
	if a.Create != first || a.Mod != second || other.Create != second || other.Mod != second {
		b.Errorf("a is %+v, b is %+v: want create %d, mod %d and create and mod %d", a, other, first, second, second)
	}
	_, _, rev, err := b.Get(b.ctx, "absent")
	if err != nil || rev != second {
		b.Errorf("Get of an absent key is at revision %d (error %v), want %d", rev, err, second)
	}
	if rev := b.write(del("absent")); rev != second {
		b.Errorf("deleting nothing is at revision %d, want still %d", rev, second)
	}
	third := b.write(del("a"))
	fourth := b.write(put("a", "3"))
	if a := b.read("a"); third <= second || a.Create != fourth || a.Mod != fourth {
		b.Errorf("a key that was deleted at %d and written again at %d is %+v", third, fourth, a)
	}
	if rev, ok := b.try([]journal.Cond{{Key: "a", Mod: 1}}, put("a", "4")); ok || rev != fourth {
		b.Errorf("a refused commit is at revision %d (ok %v), want %d", rev, ok, fourth)
	}
	if _, rev := b.all("", journal.ListOptions{}); rev != fourth {
		b.Errorf("List is at revision %d, want %d", rev, fourth)
	}
}

func checkAtomic(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	old := b.write(put("old", "1"))
	rev := b.write(put("a", "1"), put("b", "1"), put("c", "1"), del("old"))
	for _, key := range []string{"a", "b", "c"} {
		if kv := b.read(key); kv == nil || kv.Mod != rev {
			b.Errorf("%s is %+v, want it written at %d", key, kv, rev)
		}
	}
	b.wantKeys("", "a", "b", "c")
	if _, ok := b.try([]journal.Cond{{Key: "a", Mod: rev}, {Key: "b", Mod: old}},
		put("a", "2"), put("d", "2"), del("c")); ok {
		b.Error("a commit went through though its second condition does not hold")
	}
	b.wantKeys("", "a", "b", "c")
	if kv := b.read("a"); string(kv.Value) != "1" {
		b.Errorf("a refused commit wrote %q", kv.Value)
	}
}

func checkCompares(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	first := b.write(put("k", "1"))
	second := b.write(put("k", "2"))
	gone := b.write(put("gone", "1"))
	b.write(del("gone"))
	for i, tt := range []struct {
		conds []journal.Cond
		want  bool
	}{
		{nil, true},
		{[]journal.Cond{{Key: "k", Mod: second}}, true},
		{[]journal.Cond{{Key: "k", Mod: first}}, false},
		{[]journal.Cond{{Key: "k", Mod: second + 1000}}, false},
		{[]journal.Cond{{Key: "k", Mod: 0}}, false},
		{[]journal.Cond{{Key: "absent", Mod: 0}}, true},
		{[]journal.Cond{{Key: "absent", Mod: first}}, false},
		{[]journal.Cond{{Key: "gone", Mod: 0}}, true},
		{[]journal.Cond{{Key: "gone", Mod: gone}}, false},
		{[]journal.Cond{{Key: "k", Mod: second}, {Key: "absent", Mod: 0}}, true},
		{[]journal.Cond{{Key: "k", Mod: second}, {Key: "k", Mod: first}}, false},
		{[]journal.Cond{{Key: "absent", Mod: 0}, {Key: "k", Mod: 0}}, false},
	} {
		key := fmt.Sprintf("done/%02d", i)
		if _, ok := b.try(tt.conds, put(key, "")); ok != tt.want {
			b.Errorf("%v: got ok %v, want %v", tt.conds, ok, tt.want)
		}
		if written := b.read(key) != nil; written != tt.want {
			b.Errorf("%v: written %v, want %v", tt.conds, written, tt.want)
		}
	}
	if _, ok := b.try([]journal.Cond{{Key: "k", Mod: second}}); !ok {
		b.Error("a commit of conditions alone is refused though they hold")
	}
	if _, ok := b.try([]journal.Cond{{Key: "k", Mod: first}}); ok {
		b.Error("a commit of conditions alone is accepted though they do not hold")
	}
}

func checkLimits(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	many := func(n int) (ops []journal.Op, conds []journal.Cond) {
		for i := range n {
			key := fmt.Sprintf("many/%04d", i)
			ops, conds = append(ops, put(key, "")), append(conds, journal.Cond{Key: key})
		}
		return ops, conds
	}
	large := func(size int) journal.Op { return put("large", strings.Repeat("x", size-len("large"))) }
	ops, conds := many(journal.MaxOps + 1)
	for name, txn := range map[string]journal.Txn{
		"too many writes":              {Then: ops},
		"too many conditions":          {If: conds, Then: []journal.Op{put("a", "")}},
		"too large":                    {Then: []journal.Op{large(journal.MaxBytes + 1)}},
		"too large together":           {Then: []journal.Op{large(journal.MaxBytes), put("a", "")}},
		"a key written twice":          {Then: []journal.Op{put("a", "1"), put("a", "2")}},
		"a key put and deleted":        {Then: []journal.Op{put("a", "1"), del("a")}},
		"a key under a deleted prefix": {Then: []journal.Op{put("a/1", "1"), {Key: "a/", Delete: true, Prefix: true}}},
		"no key":                       {Then: []journal.Op{put("", "1")}},
		"no key in a condition":        {If: []journal.Cond{{}}, Then: []journal.Op{put("a", "")}},
		"a put prefix":                 {Then: []journal.Op{{Key: "a", Prefix: true}}},
	} {
		_, ok, err := b.Commit(b.ctx, txn)
		wantKind(b, name, err, failure.Invalid)
		if ok {
			b.Errorf("%s: ok together with an error", name)
		}
	}
	b.wantKeys("")
	ops, conds = many(journal.MaxOps)
	if _, ok := b.try(conds, ops...); !ok {
		b.Errorf("%d conditions and writes are refused", journal.MaxOps)
	}
	b.write(large(journal.MaxBytes))
	if kv := b.read("large"); kv == nil || len(kv.Value) != journal.MaxBytes-len("large") {
		b.Error("the largest record is not there")
	}
}

func checkDeletePrefix(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	b.write(put("run/1", ""), put("run/1/a", ""), put("run/1/b", ""), put("run/10", ""), put("run/2/a", ""))
	if _, ok := b.try([]journal.Cond{{Key: "nope", Mod: 7}}, journal.Op{Key: "run/", Delete: true, Prefix: true}); ok {
		b.Error("a condition that does not hold is no condition for deleting a prefix")
	}
	b.write(journal.Op{Key: "run/1/", Delete: true, Prefix: true}, put("done", ""))
	b.wantKeys("", "done", "run/1", "run/10", "run/2/a")
	b.write(journal.Op{Key: "", Delete: true, Prefix: true})
	b.wantKeys("")
}

func checkList(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	for _, key := range []string{"b/3", "a", "b/1", "b/10", "b", "c/1", "b/2", "b0"} {
		b.write(put(key, "v"+key))
	}
	for _, tt := range []struct {
		prefix string
		opt    journal.ListOptions
		want   []string
	}{
		{"b/", journal.ListOptions{}, []string{"b/1", "b/10", "b/2", "b/3"}},
		{"b", journal.ListOptions{}, []string{"b", "b/1", "b/10", "b/2", "b/3", "b0"}},
		{"", journal.ListOptions{Limit: 2}, []string{"a", "b"}},
		{"b/", journal.ListOptions{Limit: 2}, []string{"b/1", "b/10"}},
		{"b/", journal.ListOptions{From: "b/10"}, []string{"b/10", "b/2", "b/3"}},
		{"b/", journal.ListOptions{From: "b/11"}, []string{"b/2", "b/3"}},
		{"b/", journal.ListOptions{From: "b/10", Limit: 2}, []string{"b/10", "b/2"}},
		{"b/", journal.ListOptions{From: "a"}, []string{"b/1", "b/10", "b/2", "b/3"}},
		{"b/", journal.ListOptions{From: "c"}, nil},
		{"b/", journal.ListOptions{From: "b0"}, nil},
		{"d", journal.ListOptions{}, nil},
	} {
		if diff := cmp.Diff(tt.want, b.keys(tt.prefix, tt.opt)); diff != "" {
			b.Errorf("List(%q, %+v) (-want +got):\n%s", tt.prefix, tt.opt, diff)
		}
	}
	last := b.write(put("b/1", "changed"))
	kvs, rev := b.all("b/", journal.ListOptions{Limit: 1})
	if rev != last || len(kvs) != 1 || string(kvs[0].Value) != "changed" || kvs[0].Mod != last || kvs[0].Create >= last {
		b.Errorf("got %+v at revision %d, want the changed record at %d", kvs, rev, last)
	}
	if _, rev = b.all("b/", journal.ListOptions{From: "c"}); rev != last {
		b.Errorf("an empty list is at revision %d, want %d", rev, last)
	}
}

// checkListOneRevision reads while one transaction after the other moves two records together.
func checkListOneRevision(tb testing.TB, open Opener) {
	b, other := newBench(tb, open), newBench(tb, open)
	b.write(put("pair/a", "0"), put("pair/z", "0"))
	var writer sync.WaitGroup
	stop := make(chan struct{})
	defer writer.Wait()
	defer close(stop)
	writer.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			n := fmt.Sprint(i)
			if _, _, err := other.Commit(other.ctx, journal.Txn{Then: []journal.Op{put("pair/a", n), put("pair/z", n)}}); err != nil {
				tb.Errorf("Commit: %v", err)
				return
			}
		}
	})
	for range 300 {
		kvs, rev := b.all("pair/", journal.ListOptions{})
		if len(kvs) != 2 || kvs[0].Mod != kvs[1].Mod || !bytes.Equal(kvs[0].Value, kvs[1].Value) {
			b.Fatalf("a list at revision %d tears a transaction: %+v", rev, kvs)
		}
		if kvs[0].Mod > rev {
			b.Fatalf("a list at revision %d has a record of revision %d", rev, kvs[0].Mod)
		}
	}
}

func checkReopen(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	incarnation := b.Incarnation()
	if incarnation == "" {
		b.Error("no incarnation")
	}
	rev := b.write(put("k", "v"))
	if err := b.Close(); err != nil {
		b.Errorf("Close: %v", err)
	}
	b = newBench(tb, open)
	if kv := b.read("k"); kv == nil || string(kv.Value) != "v" || kv.Mod != rev {
		b.Errorf("got %+v, want v of revision %d", kv, rev)
	}
	if b.Incarnation() != incarnation {
		b.Errorf("the incarnation changed from %q to %q", incarnation, b.Incarnation())
	}
	if again := b.write(put("k", "w")); again <= rev {
		b.Errorf("revision %d after %d", again, rev)
	}
}
