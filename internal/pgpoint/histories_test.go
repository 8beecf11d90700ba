package pgpoint_test

import (
	"context"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// TestHistoriesAreRead lists a log that goes over to a second timeline, with its history file and without.
func TestHistoriesAreRead(t *testing.T) {
	ctx := context.Background()
	for name, history := range map[string]string{"with": "1\t0/3000060\tno recovery target specified\n", "without": ""} {
		v, err := vault.Init(ctx, memory.New(), "secret", vault.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := v.NewSession(ctx)
		if err != nil {
			t.Fatal(err)
		}
		file := func(name, text string) tree.Node {
			id, err := s.SaveBlob(ctx, object.Data, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			return tree.Node{Name: name, Type: tree.File, Size: uint64(len(text)), Content: []object.ID{id}}
		}
		text, err := pgpoint.Log{SystemID: 7, Segment: pgwal.DefaultSegmentSize, Spans: []pgpoint.Span{{From: at(1, 0x2000000), To: at(2, 0x4000000)}}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		nodes := []tree.Node{file("lifeboat.json", string(text))}
		if history != "" {
			wal, err := s.SaveTree(ctx, &tree.Tree{Nodes: []tree.Node{file("00000002.history", history)}})
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, tree.Node{Name: "wal", Type: tree.Dir, Subtree: &wal})
		}
		root, err := s.SaveTree(ctx, &tree.Tree{Nodes: nodes})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit(ctx, &snapshot.Snapshot{Time: noon, Tree: &root, Paths: []string{"/"}, Tags: pgpoint.Tags(whose, pgpoint.IsLog, "west")}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
		logs, err := pgpoint.Logs(ctx, v, whose)
		if err != nil || len(logs) != 1 || (len(logs[0].Histories) == 1) != (history != "") {
			t.Errorf("%s a history: got %d logs, %v", name, len(logs), err)
		}
	}
}
