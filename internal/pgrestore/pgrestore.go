// Package pgrestore brings a PostgreSQL cluster back from a vault: a base point into a folder, then the log up to what was
// asked for, by a server that nobody else can reach until the end state is judged.
//
// It writes nothing into the cluster's configuration for the sake of recovery: all that is for recovery is on the server's
// command line, and gone with it. A folder that is not finished cannot be started by anybody else, and the next [Run] goes
// on with it. It captures nothing, receives no log and knows no drivers; it runs on the host that the folder is on, as the
// server's user or as root. Start with [Preview] and [Run]; [Main] is the program that PostgreSQL asks for log.
package pgrestore

import (
	"log/slog"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Options say what is restored, where to, and what becomes of it.
type Options struct {
	Vault *vault.Vault
	Whose pgpoint.Whose
	// Base is the base point's snapshot; zero: the best one for the target, which is the newest that was complete before it
	// and is not in Avoid.
	Base object.ID
	// Avoid are base points that are known to be bad; they are used only when Base names them.
	Avoid  []object.ID
	Target Target
	// Timeline is the branch of history that the target is on. The zero Timeline is the latest.
	Timeline Branch
	// Spools are folders of log receivers that can be read here: they hold what is not in the vault yet.
	Spools []string

	// Data is the data folder, Spaces where tablespaces go, by their OID or by where they were; one that is not named goes
	// where it was, which must not be in use.
	Data   string
	Spaces map[string]string
	// Overwrite says what may lie in these folders. Where something does, only what differs is written, and what is not in
	// the base point is deleted.
	Overwrite Overwrite
	// Keep are files directly in Data that stay as they are there, when they are: a site's own postgresql.conf.
	Keep []string
	// Owner is the operating system user that the server runs as: when this process is root; else it is this process's. Empty:
	// whoever owns Data, or the folder that Data is in.
	Owner string
	// SkipSpaceCheck begins although the file system seems to have too little room.
	SkipSpaceCheck bool

	// Bin is the folder of the server's programs.
	Bin string
	// Program is a lifeboat on this host, which PostgreSQL runs; empty: this process's.
	Program string
	Server  Server

	// After is what follows when the target is reached and judged, Leave what becomes of the server then.
	After After
	Leave Leave
	// Forward goes on from where Data's recovery was paused, by a Run that began from the same base point and whose server was
	// stopped since: no files are brought. The target must not be before that. Overwrite is SameSystem.
	Forward bool
	// Lenient accepts less log than is known to exist: what could be reached is then a warning, not an error.
	Lenient bool
	// Patience is for how long the server may do nothing at all before it is given up; 0: ten minutes.
	Patience time.Duration

	// ServerLog is the file that the server's messages during recovery are added to; empty: they are in errors only.
	ServerLog string
	// History is what earlier restores of this resource took, for the prediction; it may be nil.
	History []Took
	// Progress is told several times a second how far it is, by one goroutine at a time. It may be nil.
	Progress func(Progress)
	Log      *slog.Logger // nil: silent
}

// Overwrite says what may lie in the folders that are restored to.
type Overwrite string

// The ways to overwrite. A folder of a running server is never overwritten.
const (
	OnlyEmpty  Overwrite = ""         // nothing, or what an unfinished restore of the same resource left
	SameSystem Overwrite = "same"     // also the data folder of the same cluster (by its system identifier)
	Anything   Overwrite = "anything" // also whatever else
)

// Server is how the restored cluster runs, beside what its own configuration says.
type Server struct {
	// Config is the configuration file when that is not in the data folder, as on Debian. With neither, a minimal one is used.
	Config string
	// Isolated makes it a copy for looking at: it listens where Port, Listen and Sockets say and nowhere else, lets in
	// whoever HBA says, archives nothing, follows nobody, replicates nothing in or out, and does not flush. All of that is on
	// its command line.
	Isolated bool
	// Port, Listen (listen_addresses) and Sockets (a folder) are where an isolated server listens; empty: on a socket in a folder
	// that is made for it.
	Port    int
	Listen  string
	Sockets string
	HBA     []string // lines of an isolated server's pg_hba.conf; empty: everybody on the socket is trusted, nobody else
	// Settings of an isolated server are on its command line. Of another one they are written to postgresql.auto.conf, as ALTER
	// SYSTEM does, and stay: port, listen_addresses, archive_command. An empty value is written as one.
	Settings map[string]string
	// User is a superuser of the cluster, for looking at what was reached; empty: postgres.
	User string
	// Start, for a server that is not isolated and is left running, is the command that starts it as this host does (systemctl
	// ...); empty: pg_ctl.
	Start []string
}

// After is what follows when the target is reached.
type After string

// What follows.
const (
	Promote  After = ""         // it becomes a primary on a new timeline
	Pause    After = "pause"    // it stays in recovery, readable, at the target
	Shutdown After = "shutdown" // it is shut down in recovery: to be started as a standby, say
)

// Leave is what becomes of the server in the end.
type Leave string

// What becomes of it.
const (
	Stopped Leave = ""
	Running Leave = "running"
)

// Kind is what a target is.
type Kind string

// The kinds of targets.
const (
	Latest    Kind = ""           // all the log that there is
	Immediate Kind = "immediate"  // as soon as the copy is consistent
	Time      Kind = "time"       // everything committed up to then
	LSN       Kind = "lsn"        // everything up to there
	Name      Kind = "name"       // the restore point of that name
	XID       Kind = "xid"        // everything up to that transaction's commit
	BeforeXID Kind = "before-xid" // everything before that transaction's commit
)

// Target is a state that a cluster was in.
type Target struct {
	Kind Kind      `json:"kind,omitempty"`
	Time time.Time `json:"time,omitzero"`
	LSN  pgwal.LSN `json:"lsn,omitempty"`
	Name string    `json:"name,omitempty"`
	XID  uint64    `json:"xid,omitempty"` // as txid_current gives it, or without the epoch
	// Exclusive leaves out what happened exactly at a time or position.
	Exclusive bool `json:"exclusive,omitempty"`
}

// Branch is a timeline, or a rule for choosing one.
type Branch struct {
	Current bool           // that of the base point
	Number  pgwal.Timeline // 0: the latest, or the current one
}

// Phase is a part of a restore.
type Phase string

// The phases, in their order.
const (
	Planning   Phase = "plan"
	Restoring  Phase = "restore" // files
	Recovering Phase = "recover" // log
	Judging    Phase = "judge"
	Promoting  Phase = "promote"
	Ending     Phase = "end" // settings, stop or start
	Finished   Phase = "finished"
)

// Progress is how far a restore is.
type Progress struct {
	Phase             Phase
	Bytes, BytesTotal int64     // of files
	At, To            pgwal.LSN // of log: replayed, and known to exist
	Segments          int       // of log given to the server
	Elapsed           time.Duration
}

// Took is what one phase took, of this or an earlier restore.
type Took struct {
	Phase   Phase   `json:"phase"`
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes,omitempty"` // of files written, or of log replayed
}

// Result is what a restore did and reached. It is given with an error too, as far as it came.
type Result struct {
	Base   pgpoint.BasePoint
	Target Target
	// Reached is the end of what was replayed; LastCommit when the last transaction in it was committed (zero: none was
	// replayed); Why how the server says that it stopped: "recovery stopping before commit of transaction 744, ...".
	Reached    pgwal.LSN
	LastCommit time.Time
	Why        string
	// Followed is the timeline that was replayed to, Timeline the one that the server is on now.
	Followed, Timeline pgwal.Timeline

	Files           int
	Bytes           int64 // of files
	Written, Reused int64 // of these, written and found right
	Deleted         int   // files and folders that were there and are not in the base point
	Segments        int   // of log given to the server
	LogBytes        int64
	Took            []Took
	Warnings        []string
	// Of a server that was left running: its process, where it listens, and the folder of its own when it is isolated, which
	// [Result.Stop] removes.
	PID     int
	Host    string // its socket's folder
	Port    int
	Scratch string

	server *server
}
