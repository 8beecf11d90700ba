package pgbase

import (
	"strconv"
	"strings"
)

// relation is which part of a relation a file holds (storage/relfilenode and storage/fd in PostgreSQL's source).
type relation struct {
	number  string // its file number
	fork    string // "", fsm, vm or init
	segment uint32 // of its files, each of 1 GiB unless PostgreSQL was built otherwise
}

// parseRelation reads the name of a relation's file; false: it is none, or one of a temporary relation.
func parseRelation(name string) (relation, bool) {
	var r relation
	rest, segment, ok := strings.Cut(name, ".")
	if ok {
		n, err := strconv.ParseUint(segment, 10, 32)
		if err != nil || n == 0 || segment[0] == '0' {
			return r, false
		}
		r.segment = uint32(n)
	}
	r.number, r.fork, ok = strings.Cut(rest, "_")
	if !digits(r.number) || r.number[0] == '0' || ok && r.fork != "fsm" && r.fork != "vm" && r.fork != "init" {
		return r, false
	}
	return r, true
}

// temporary reports whether name is that of a temporary relation's file: t3_16384, t3_16384_fsm.1.
func temporary(name string) bool {
	rest, ok := strings.CutPrefix(name, "t")
	if !ok {
		return false
	}
	backend, rest, ok := strings.Cut(rest, "_")
	if !ok || !digits(backend) {
		return false
	}
	_, ok = parseRelation(rest)
	return ok
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// holdsRelations reports whether a folder of a cluster, named from the data folder, holds files of relations: global, a
// database, or a database in a tablespace.
func holdsRelations(folder string) bool {
	return folder == "global" || database(folder)
}

// database reports whether a folder is that of a database: base/5, pg_tblspc/16500/PG_15_202209061/5. Temporary and
// unlogged relations are in these only.
func database(folder string) bool {
	parts := strings.Split(folder, "/")
	switch parts[0] {
	case "base":
		return len(parts) == 2 && digits(parts[1])
	case "pg_tblspc":
		return len(parts) == 4 && strings.HasPrefix(parts[2], "PG_") && digits(parts[3])
	}
	return false
}
