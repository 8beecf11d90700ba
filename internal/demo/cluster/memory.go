package cluster

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Segment is the small System V shared memory segment with which a PostgreSQL server guards its data folder. It
// outlives a server that was killed.
type Segment struct {
	ID     int
	Server int // process id of the postmaster that made it
}

// Postmaster is what a server's postmaster.pid says: its process id and its segment. The lines of that file are
// described in PostgreSQL's src/include/utils/pidfile.h.
func Postmaster(data string) (pid int, segment Segment, ok bool) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0, Segment{}, false
	}
	lines := strings.Split(string(text), "\n")
	if pid, err = strconv.Atoi(strings.TrimSpace(lines[0])); err != nil {
		return 0, Segment{}, false
	}
	if len(lines) > 6 {
		if f := strings.Fields(lines[6]); len(f) == 2 {
			if id, err := strconv.Atoi(f[1]); err == nil {
				segment = Segment{ID: id, Server: pid}
			}
		}
	}
	return pid, segment, true
}

// Segments finds the segments of all data folders below a folder.
func Segments(below string) []Segment {
	var found []Segment
	filepath.WalkDir(below, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "postmaster.pid" {
			if _, segment, ok := Postmaster(filepath.Dir(path)); ok && segment != (Segment{}) {
				found = append(found, segment)
			}
		}
		return nil // what cannot be read has no segment that can be proven to be ours
	})
	return found
}

// Remove removes the segment if it is the one that the server made and nobody is attached to it any more.
func (s Segment) Remove() {
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(s.ID, unix.IPC_STAT, &d); err != nil {
		return // gone
	}
	if int(d.Cpid) == s.Server && d.Nattch == 0 {
		unix.SysvShmCtl(s.ID, unix.IPC_RMID, nil)
	}
}
