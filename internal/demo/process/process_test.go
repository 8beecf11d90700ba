package process

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startTree starts a shell with a sleeping child that has left its parent's session, and gives both.
func startTree(t *testing.T) (parent, child ID) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "sleep 300 & echo $!; wait")
	cmd.Env = append(os.Environ(), "PROCESS_TEST="+t.Name())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		child.Signal(os.Kill)
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	parent, ok1 := Find(cmd.Process.Pid)
	child, ok2 := Find(pid)
	if !ok1 || !ok2 {
		t.Fatal("the processes just started are not found")
	}
	return parent, child
}

func TestKillEndsTheTreeAndNothingElse(t *testing.T) {
	parent, child := startTree(t)
	bystander, _ := startTree(t)
	find := func() ([]Info, error) {
		table, err := Table()
		// Once the parent is dead its child belongs to another: it is named for itself.
		return Descendants(table, parent, child), err
	}
	found, err := find()
	if err != nil || len(found) < 2 {
		t.Fatalf("tree: got %v, %v", found, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if _, err := Kill(ctx, find); err != nil {
		t.Fatal(err)
	}
	if parent.Alive() || child.Alive() {
		t.Error("the tree is still there")
	}
	if !bystander.Alive() {
		t.Error("a bystander was killed")
	}
}

func TestADifferentStartIsADifferentProcess(t *testing.T) {
	parent, _ := startTree(t)
	stranger := ID{PID: parent.PID, Start: parent.Start + "0"}
	if sent, err := stranger.Signal(os.Kill); sent || err != nil {
		t.Errorf("signal to a process that had this number before: sent %v, %v", sent, err)
	}
	if !parent.Alive() || stranger.Alive() {
		t.Errorf("alive: got %v and %v, want true and false", parent.Alive(), stranger.Alive())
	}
}

func TestTableKnowsSelf(t *testing.T) {
	table, err := Table()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(table, func(i Info) bool { return i.ID == Self() })
	if i < 0 {
		t.Fatal("the test itself is not in the table")
	}
	if table[i].UID != os.Getuid() || table[i].Parent != os.Getppid() {
		t.Errorf("got %+v", table[i])
	}
	if line := Ancestors(table); !line[os.Getpid()] || !line[os.Getppid()] {
		t.Errorf("ancestors: got %v", line)
	}
}
